/** Calls, wakes and aborts that come from within a poll, where the line is served right now. */

import { describe, expect, test } from "bun:test";
import { Pending, type Poll, type Waker, WouldBlock } from "../../lib/index.ts";
import { OperationQueue } from "../../lib/poll/operation-queue.ts";
import { nextTurn } from "../tools/sockets.ts";
import { BaseSocket, listenerCount, Settled } from "../traits/base-socket.ts";

const ONE = Uint8Array.of(1);

describe("wakes", () => {
  test("from within the poll, before it answers Pending, are not lost", async () => {
    const queue = new OperationQueue();
    const turns: string[] = [];
    const pollsTo = (name: string, last: number) => {
      let polls = 0;
      return (waker: Waker) => {
        turns.push(`${name}${++polls}`);
        if (polls === last) return name;
        waker();
        return Pending;
      };
    };
    const first = queue.run(pollsTo("a", 2), undefined);
    const second = queue.run(pollsTo("b", 3), undefined);
    turns.push("returned");
    expect(await Promise.all([first, second])).toEqual(["a", "b"]);
    expect(turns).toEqual(["a1", "returned", "a2", "b1", "b2", "b3"]);
    expect(queue.isBusy).toBe(false);
  });

  test("from within the poll for ever leave the thread to others", async () => {
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
  /** Runs a caller whose poll, the first time, makes another call. */
  function nested(queue: OperationQueue, outcome: () => Poll<string>) {
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
      return outcome();
    }, undefined);
    return run;
  }

  test("is served behind the caller that is, when that is done at once", async () => {
    const run = nested(new OperationQueue(), () => "outer");
    expect(run.polled).toEqual(["outer", "inner"]);
    expect(await Promise.all([run.outer, run.inner])).toEqual(["outer", "inner"]);
  });

  test("stays behind the caller that is served while that waits on", async () => {
    let answer: Poll<string> = Pending;
    const run = nested(new OperationQueue(), () => answer);
    expect(run.polled).toEqual(["outer"]);
    run.waker();
    expect(run.polled).toEqual(["outer", "outer"]);
    answer = "outer";
    run.waker();
    expect(run.polled).toEqual(["outer", "outer", "outer", "inner"]);
    expect(await Promise.all([run.outer, run.inner])).toEqual(["outer", "inner"]);
  });

  test("is served when the caller before it fails", async () => {
    const run = nested(new OperationQueue(), () => {
      throw new Error("refused");
    });
    await expect(run.outer).rejects.toThrow("refused");
    expect(await run.inner).toBe("inner");
  });

  test("that only tries is told to come again", () => {
    const socket = new BaseSocket();
    const answers: unknown[] = [];
    const queue = new OperationQueue();
    socket._sendQueue = queue;
    queue.run(() => {
      answers.push(socket.trySend(ONE));
      return "done";
    }, undefined);
    expect(answers).toEqual([WouldBlock]);
    expect(socket.trySend(ONE)).toBe(1);
  });
});

describe("an abort from within a poll", () => {
  const reason = new Error("gone");

  test("of the caller that is served: what the poll got is not lost", async () => {
    for (const isQueued of [false, true]) {
      const { queue, wake, controller } = lineBehindNobody(isQueued);
      const promise = queue.run(() => {
        controller.abort(reason);
        return "got";
      }, controller.signal);
      wake();
      expect(await promise).toBe("got");
      expect(listenerCount(controller.signal)).toBe(0);
    }
  });

  test("of the caller that is served: it rejects when the poll got nothing", async () => {
    for (const isQueued of [false, true]) {
      const { queue, wake, controller } = lineBehindNobody(isQueued);
      const promise = queue.run<string>(() => {
        controller.abort(reason);
        return Pending;
      }, controller.signal);
      const behind = queue.run(() => "behind", undefined);
      wake();
      await expect(promise).rejects.toBe(reason);
      expect(await behind).toBe("behind");
      expect(queue.isBusy).toBe(false);
      expect(listenerCount(controller.signal)).toBe(0);
    }
  });

  test("of a caller behind takes that one out and nobody else", async () => {
    const { queue, wake, controller } = lineBehindNobody(true);
    const settled = new Settled();
    const head = queue.run(() => {
      controller.abort(reason);
      return "done";
    }, undefined);
    settled.watch("head", head);
    settled.watch(
      "behind",
      queue.run(() => "done", controller.signal),
    );
    settled.watch(
      "last",
      queue.run(() => "done", undefined),
    );
    wake();
    await nextTurn();
    expect(settled.order.toSorted()).toEqual(["behind failed gone", "head done", "last done"]);
  });

  /** A queue, empty or with somebody in it whom `wake` serves, so that what comes must wait. */
  function lineBehindNobody(isQueued: boolean) {
    const queue = new OperationQueue();
    let wake: Waker = () => {};
    if (isQueued) {
      let answer: Poll<string> = Pending;
      queue.run((waker) => {
        wake = () => {
          answer = "served";
          waker();
        };
        return answer;
      }, undefined);
    }
    return { queue, wake: () => wake(), controller: new AbortController() };
  }
});
