/** Receives that wait after a burst: the decisions, on a fake timer, and `burstDelayUs` of sockets. */

import { describe, expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { POLLIN } from "../../lib/linux/constants.ts";
import { BurstDelays } from "../../lib/readiness/burst-delays.ts";
import { Interest } from "../../lib/readiness/interest.ts";
import { rejection } from "../tools/sockets.ts";

const EMFILE = 24;

class FakeTimer {
  readonly delays: number[] = [];
  result = 0;
  setTimer(delayUs: number): number {
    this.delays.push(delayUs);
    return this.result;
  }
}

/** Returns an interest that has received `datagrams` since its previous wait. */
function interestAfter(datagrams: number, burstDelayUs = 100): Interest {
  const interest = new Interest(0, 3, POLLIN);
  interest.burstDelayUs = burstDelayUs;
  interest.datagramsSinceWait = datagrams;
  return interest;
}

/** Delays an interest as the reactor does, and counts the calls of its waker. */
function delayed(delays: BurstDelays, interest: Interest, nowMs: number): { calls: number } {
  const counter = { calls: 0 };
  interest.waker = () => {
    counter.calls++;
  };
  expect(delays.delay(interest, nowMs)).toBe(true);
  interest.state = "delayed";
  return counter;
}

describe("BurstDelays", () => {
  test.each([
    [0, 100, false],
    [3, 100, false],
    [4, 100, true],
    [1024, 100, true],
    [4, 0, false],
  ])("after %i datagrams with a delay of %i us: %p", (datagrams, burstDelayUs, expected) => {
    const timer = new FakeTimer();
    const interest = interestAfter(datagrams, burstDelayUs);
    const delays = new BurstDelays(timer);
    expect(delays.delay(interest, 0)).toBe(expected);
    expect(timer.delays).toEqual(expected ? [burstDelayUs] : []);
    expect(delays.isPending).toBe(expected);
  });

  test("counts the datagrams anew after each wait", () => {
    const delays = new BurstDelays(new FakeTimer());
    const interest = interestAfter(3);
    expect(delays.delay(interest, 0)).toBe(false);
    interest.datagramsSinceWait += 3;
    expect(delays.delay(interest, 1)).toBe(false);
  });

  test("sets the timer again only for an earlier time, and wakes all together", () => {
    const timer = new FakeTimer();
    const delays = new BurstDelays(timer);
    const first = delayed(delays, interestAfter(4, 500), 0);
    const later = delayed(delays, interestAfter(4, 500), 0.2);
    const earlier = delayed(delays, interestAfter(4, 100), 0.2);
    expect(timer.delays).toEqual([500, 100]);
    delays.wake();
    expect([first.calls, later.calls, earlier.calls]).toEqual([1, 1, 1]);
    expect(delays.isPending).toBe(false);
    delays.wake();
    expect(first.calls).toBe(1);
  });

  test("does not delay without a descriptor for the timer", () => {
    const timer = new FakeTimer();
    timer.result = -EMFILE;
    const delays = new BurstDelays(timer);
    expect(delays.delay(interestAfter(4), 0)).toBe(false);
    expect(delays.isPending).toBe(false);
  });

  test("does not wake an interest that was removed, or that a waker has ended", () => {
    const delays = new BurstDelays(new FakeTimer());
    const removed = interestAfter(4);
    const ended = interestAfter(4);
    const ending = interestAfter(4);
    const ofRemoved = delayed(delays, removed, 0);
    delayed(delays, ending, 0);
    const ofEnded = delayed(delays, ended, 0);
    ending.waker = () => {
      ended.state = "idle";
    };
    delays.remove(removed);
    delays.wake();
    expect([ofRemoved.calls, ofEnded.calls]).toEqual([0, 0]);
  });

  test("an interest that waits again in its waker is delayed until the next expiry", () => {
    const timer = new FakeTimer();
    const delays = new BurstDelays(timer);
    const interest = interestAfter(4);
    delayed(delays, interest, 0);
    let again = { calls: 0 };
    interest.waker = () => {
      interest.datagramsSinceWait = 4;
      again = delayed(delays, interest, 1);
    };
    delays.wake();
    expect([again.calls, delays.isPending]).toEqual([0, true]);
    delays.wake();
    expect(again.calls).toBe(1);
  });
});

describe("burstDelayUs", () => {
  test.each([-1, 1001, 0.5, Number.NaN])("%p is refused", async (burstDelayUs) => {
    const error = await rejection(UdpSocket.bind({ burstDelayUs }));
    expect(error).toBeInstanceOf(RangeError);
    expect((error as Error).message).toContain('"burstDelayUs" expected integer 0..1000');
  });

  test.each([0, 1, 1000])("with %i, bursts and lone datagrams arrive in order", async (us) => {
    await using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", burstDelayUs: us });
    await using sender = await UdpSocket.connect(receiver.localAddr);
    let next = 0;
    const target = Buffer.alloc(4);
    for (const length of [8, 1, 4, 64, 1, 1, 5, 32]) {
      const batch = Array.from({ length }, (_, i) => {
        const datagram = Buffer.alloc(4);
        datagram.writeUInt32BE(next + i);
        return datagram;
      });
      // Half of them arrive while the receiver waits.
      const arrived = receiver.recv(target);
      await sender.sendMany(batch);
      await arrived;
      expect(target.readUInt32BE()).toBe(next++);
      for (let i = 1; i < length; i++) {
        await receiver.recv(target);
        expect(target.readUInt32BE()).toBe(next++);
      }
    }
    expect(receiver.counters).toMatchObject({ datagramsReceived: next, datagramsDropped: 0 });
  });

  test.each(["close", "intoFd"] as const)("%s() ends a receive that is delayed", async (method) => {
    const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", burstDelayUs: 1000 });
    await using sender = await UdpSocket.connect(receiver.localAddr);
    const targets = Array.from({ length: 8 }, () => Buffer.alloc(4));
    await sender.sendMany(targets);
    for (let i = 0; i < 8; ) i += await receiver.recvMany(targets);
    const waiting = rejection(receiver.recvMany(targets));
    const fd = receiver[method]();
    expect(await waiting).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    if (fd !== undefined) (await UdpSocket.fromFd(fd)).close();
  });

  test("an aborted receive that is delayed loses nothing", async () => {
    await using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", burstDelayUs: 1000 });
    await using sender = await UdpSocket.connect(receiver.localAddr);
    const targets = Array.from({ length: 8 }, () => Buffer.alloc(4));
    await sender.sendMany(targets);
    for (let i = 0; i < 8; ) i += await receiver.recvMany(targets);
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = rejection(receiver.recv(targets[0] as Buffer, { signal }));
    await sender.send("next");
    controller.abort();
    expect(await waiting).toMatchObject({ name: "AbortError" });
    const target = Buffer.alloc(8);
    expect(await receiver.recv(target)).toBe(4);
    expect(target.toString("utf8", 0, 4)).toBe("next");
  });
});
