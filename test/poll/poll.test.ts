/** `pollFn`: when it polls, and when it does not any more. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  Pending,
  type Poll,
  pollFn,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { nextTurn } from "../tools/sockets.ts";

/** A poll whose answers the test gives, and its wakers. */
class Answers<T> {
  polls = 0;
  readonly wakers: Waker[] = [];
  #next: Poll<T> | Error = Pending;

  give(next: Poll<T> | Error): void {
    this.#next = next;
  }

  readonly poll = (waker: Waker): Poll<T> => {
    this.polls++;
    this.wakers.push(waker);
    if (this.#next instanceof Error) throw this.#next;
    return this.#next;
  };
}

describe("Pending and WouldBlock", () => {
  test("are two values that no poll's value equals", () => {
    const all: unknown[] = [Pending, WouldBlock, undefined, null, 0, false];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("pollFn", () => {
  test("resolves with what the first poll answers, falsy values too", async () => {
    for (const value of [0, "", false, undefined, null]) {
      const answers = new Answers<unknown>();
      answers.give(value);
      expect(await pollFn(answers.poll)).toBe(value);
      expect(answers.polls).toBe(1);
    }
  });

  test("rejects with what the poll throws, at once or later", async () => {
    const error = new Error("refused");
    await expect(
      pollFn(() => {
        throw error;
      }),
    ).rejects.toBe(error);
    const answers = new Answers<number>();
    const later = pollFn(answers.poll);
    answers.give(error);
    answers.wakers[0]?.();
    await expect(later).rejects.toBe(error);
  });

  test("polls again when woken, and only then", async () => {
    const answers = new Answers<number>();
    const promise = pollFn(answers.poll);
    await nextTurn();
    expect(answers.polls).toBe(1);
    answers.wakers[0]?.();
    answers.wakers[1]?.();
    expect(answers.polls).toBe(3);
    answers.give(7);
    answers.wakers[2]?.();
    expect(await promise).toBe(7);
  });

  test("polls no more once it is done, however often it is woken", async () => {
    const answers = new Answers<number>();
    answers.give(1);
    await pollFn(answers.poll);
    answers.wakers[0]?.();
    answers.wakers[0]?.();
    await nextTurn();
    expect(answers.polls).toBe(1);
  });

  test("takes no second datagram when its waker is called late", async () => {
    const [a, b] = DatagramPair.create();
    const kept: Waker[] = [];
    const received = pollFn((waker) => {
      kept.push(waker);
      return b.pollRecv(waker, new Uint8Array(10));
    });
    a.trySend(Uint8Array.of(1));
    expect(await received).toBe(1);
    a.trySend(Uint8Array.of(2, 2));
    for (const waker of kept) waker();
    expect(b.tryRecv(new Uint8Array(10))).toBe(2);
  });

  test("polls again, in a later turn, when it is woken by its own poll", async () => {
    let polls = 0;
    const turns: string[] = [];
    const promise = pollFn((waker) => {
      polls++;
      turns.push(`poll ${polls}`);
      if (polls === 3) return polls;
      waker();
      waker();
      return Pending;
    });
    turns.push("returned");
    expect(await promise).toBe(3);
    expect(turns).toEqual(["poll 1", "returned", "poll 2", "poll 3"]);
  });

  test("leaves the thread to others while its poll wakes itself for ever", async () => {
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
