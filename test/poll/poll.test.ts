/** `pollFn`: when it polls, how it settles, and when it stops polling. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  Pending,
  type Poll,
  pollFn,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { nextTick } from "../tools/sockets.ts";

/** A poll whose result the test sets. Records its wakers. */
class ScriptedPoll<T> {
  polls = 0;
  readonly wakers: Waker[] = [];
  #result: Poll<T> | Error = Pending;

  setResult(result: Poll<T> | Error): void {
    this.#result = result;
  }

  readonly poll = (waker: Waker): Poll<T> => {
    this.polls++;
    this.wakers.push(waker);
    if (this.#result instanceof Error) throw this.#result;
    return this.#result;
  };
}

describe("Pending and WouldBlock", () => {
  test("are different from each other and from undefined, null, 0 and false", () => {
    const all: unknown[] = [Pending, WouldBlock, undefined, null, 0, false];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("pollFn", () => {
  test("resolves with the value of the first poll, including falsy values", async () => {
    for (const value of [0, "", false, undefined, null]) {
      const scripted = new ScriptedPoll<unknown>();
      scripted.setResult(value);
      expect(await pollFn(scripted.poll)).toBe(value);
      expect(scripted.polls).toBe(1);
    }
  });

  test("rejects with the error that the first or a later poll throws", async () => {
    const error = new Error("refused");
    await expect(
      pollFn(() => {
        throw error;
      }),
    ).rejects.toBe(error);
    const scripted = new ScriptedPoll<number>();
    const later = pollFn(scripted.poll);
    scripted.setResult(error);
    scripted.wakers[0]?.();
    await expect(later).rejects.toBe(error);
  });

  test("polls again only when its waker is called", async () => {
    const scripted = new ScriptedPoll<number>();
    const promise = pollFn(scripted.poll);
    await nextTick();
    expect(scripted.polls).toBe(1);
    scripted.wakers[0]?.();
    scripted.wakers[1]?.();
    expect(scripted.polls).toBe(3);
    scripted.setResult(7);
    scripted.wakers[2]?.();
    expect(await promise).toBe(7);
  });

  test("does not poll after it has settled, even if its waker is called", async () => {
    const scripted = new ScriptedPoll<number>();
    scripted.setResult(1);
    await pollFn(scripted.poll);
    scripted.wakers[0]?.();
    scripted.wakers[0]?.();
    await nextTick();
    expect(scripted.polls).toBe(1);
  });

  test("takes no second datagram if its waker is called after it resolved", async () => {
    const [a, b] = DatagramPair.create();
    const wakers: Waker[] = [];
    const received = pollFn((waker) => {
      wakers.push(waker);
      return b.pollRecv(waker, new Uint8Array(10));
    });
    a.trySend(Uint8Array.of(1));
    expect(await received).toBe(1);
    a.trySend(Uint8Array.of(2, 2));
    for (const waker of wakers) waker();
    expect(b.tryRecv(new Uint8Array(10))).toBe(2);
  });

  test("polls again in a later tick if its own poll calls the waker", async () => {
    let polls = 0;
    const events: string[] = [];
    const promise = pollFn((waker) => {
      polls++;
      events.push(`poll ${polls}`);
      if (polls === 3) return polls;
      waker();
      waker();
      return Pending;
    });
    events.push("returned");
    expect(await promise).toBe(3);
    expect(events).toEqual(["poll 1", "returned", "poll 2", "poll 3"]);
  });

  test("does not block the event loop if each poll calls the waker", async () => {
    let isWanted = true;
    const promise = pollFn((waker) => {
      waker();
      return isWanted ? Pending : "stopped";
    });
    setTimeout(() => {
      isWanted = false;
    }, 1);
    expect(await promise).toBe("stopped");
  });
});
