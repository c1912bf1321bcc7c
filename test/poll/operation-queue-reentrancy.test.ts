/** Reentrancy of the queue: wakes, calls and aborts from within a poll of one of its callers. */

import { describe, expect, test } from "bun:test";
import { Pending, type Poll, type Waker, WouldBlock } from "../../lib/index.ts";
import { OperationQueue } from "../../lib/poll/operation-queue.ts";
import { nextTick } from "../tools/sockets.ts";
import { listenerCount, ScriptedSocket, Settled } from "../traits/scripted-socket.ts";

const ONE = Uint8Array.of(1);

describe("a wake from within a poll", () => {
  test("is not lost if the poll then returns Pending", async () => {
    const queue = new OperationQueue();
    const events: string[] = [];
    const makePoll = (name: string, last: number) => {
      let polls = 0;
      return (waker: Waker) => {
        events.push(`${name}${++polls}`);
        if (polls === last) return name;
        waker();
        return Pending;
      };
    };
    const first = queue.run(makePoll("a", 2), undefined);
    const second = queue.run(makePoll("b", 3), undefined);
    events.push("returned");
    expect(await Promise.all([first, second])).toEqual(["a", "b"]);
    expect(events).toEqual(["a1", "returned", "a2", "b1", "b2", "b3"]);
    expect(queue.isBusy).toBe(false);
  });

  test("does not block the event loop if every poll causes one", async () => {
    const queue = new OperationQueue();
    let isWanted = true;
    const promise = queue.run((waker: Waker) => {
      waker();
      return isWanted ? Pending : "stopped";
    }, undefined);
    setTimeout(() => {
      isWanted = false;
    }, 1);
    expect(await promise).toBe("stopped");
  });
});

describe("a call from within a poll", () => {
  /** Runs an operation whose first poll runs another operation. */
  function nested(queue: OperationQueue, result: () => Poll<string>) {
    const polled: string[] = [];
    const run = { polled, waker: () => {}, inner: Promise.resolve(""), outer: Promise.resolve("") };
    const innerPoll = () => {
      polled.push("inner");
      return "inner";
    };
    run.outer = queue.run((waker) => {
      run.waker = waker;
      polled.push("outer");
      if (polled.length === 1) run.inner = queue.run(innerPoll, undefined);
      return result();
    }, undefined);
    return run;
  }

  test("is served after the outer call if that one settles at once", async () => {
    const run = nested(new OperationQueue(), () => "outer");
    expect(run.polled).toEqual(["outer", "inner"]);
    expect(await Promise.all([run.outer, run.inner])).toEqual(["outer", "inner"]);
  });

  test("waits until the outer call has settled", async () => {
    let result: Poll<string> = Pending;
    const run = nested(new OperationQueue(), () => result);
    expect(run.polled).toEqual(["outer"]);
    run.waker();
    expect(run.polled).toEqual(["outer", "outer"]);
    result = "outer";
    run.waker();
    expect(run.polled).toEqual(["outer", "outer", "outer", "inner"]);
    expect(await Promise.all([run.outer, run.inner])).toEqual(["outer", "inner"]);
  });

  test("is served if the outer call fails", async () => {
    const run = nested(new OperationQueue(), () => {
      throw new Error("refused");
    });
    await expect(run.outer).rejects.toThrow("refused");
    expect(await run.inner).toBe("inner");
  });

  test("returns WouldBlock if it is a try call", () => {
    const socket = new ScriptedSocket();
    const results: unknown[] = [];
    const queue = new OperationQueue();
    socket._sendQueue = queue;
    queue.run(() => {
      results.push(socket.trySend(ONE));
      return "done";
    }, undefined);
    expect(results).toEqual([WouldBlock]);
    expect(socket.trySend(ONE)).toBe(1);
  });
});

describe("an abort from within a poll", () => {
  const reason = new Error("gone");

  test("of the polled call has no effect if the poll returns a value", async () => {
    for (const isBusy of [false, true]) {
      const { queue, wake, controller } = makeQueue(isBusy);
      const promise = queue.run(() => {
        controller.abort(reason);
        return "got";
      }, controller.signal);
      wake();
      expect(await promise).toBe("got");
      expect(listenerCount(controller.signal)).toBe(0);
    }
  });

  test("of the polled call rejects it if the poll returns Pending", async () => {
    for (const isBusy of [false, true]) {
      const { queue, wake, controller } = makeQueue(isBusy);
      const promise = queue.run<string>(() => {
        controller.abort(reason);
        return Pending;
      }, controller.signal);
      const next = queue.run(() => "next", undefined);
      wake();
      await expect(promise).rejects.toBe(reason);
      expect(await next).toBe("next");
      expect(queue.isBusy).toBe(false);
      expect(listenerCount(controller.signal)).toBe(0);
    }
  });

  test("of a later call rejects that call only", async () => {
    const { queue, wake, controller } = makeQueue(true);
    const settled = new Settled();
    const head = queue.run(() => {
      controller.abort(reason);
      return "done";
    }, undefined);
    settled.watch("head", head);
    settled.watch(
      "aborted",
      queue.run(() => "done", controller.signal),
    );
    settled.watch(
      "last",
      queue.run(() => "done", undefined),
    );
    wake();
    await nextTick();
    expect(settled.order.toSorted()).toEqual(["aborted failed gone", "head done", "last done"]);
  });

  /** Creates a queue. If `isBusy`, it has a caller, which waits until `wake` is called. */
  function makeQueue(isBusy: boolean) {
    const queue = new OperationQueue();
    let wake: Waker = () => {};
    if (isBusy) {
      let result: Poll<string> = Pending;
      queue.run((waker) => {
        wake = () => {
          result = "served";
          waker();
        };
        return result;
      }, undefined);
    }
    return { queue, wake: () => wake(), controller: new AbortController() };
  }
});
