/** The send half: what it refuses, destinations, and `sendMany` on a socket that is full. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  DatagramPair,
  DgramBuffer,
  type Payload,
  type SendManyOptions,
  SocketAddress,
  type SocketError,
} from "../../lib/index.ts";
import { counting, NOT_UINT8_ARRAYS, sample } from "../tools/buffer-samples.ts";
import { nextTurn } from "../tools/sockets.ts";
import { BaseSocket, ConnectedBaseSocket, datagrams, Settled } from "./base-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const OTHER = SocketAddress.ip("192.0.2.2", 53);
const ONE = Uint8Array.of(1);

/** The code of the error that a promise rejects with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => ({ code: "none" }),
    (reason: unknown) => reason,
  );
  return (error as SocketError).code;
}

describe("what is sent", () => {
  test("is all of an array, a part of one or a Buffer, or a buffer's payload", async () => {
    const payloads: [Payload, string][] = [
      [new Uint8Array([1, 2]), "0102"],
      [counting(3), "000102"],
      [Buffer.from("0a0b", "hex"), "0a0b"],
      [sample(), "040506070809"],
      [new DgramBuffer(), ""],
    ];
    for (const [payload, hex] of payloads) {
      const [a, b] = DatagramPair.create();
      expect(await a.send(payload)).toBe(hex.length / 2);
      expect(a.trySend(payload)).toBe(hex.length / 2);
      expect(await a.sendMany([payload])).toBe(1);
      for (let i = 0; i < 3; i++) {
        const buf = DgramBuffer.withCapacity(100);
        await b.recv(buf);
        expect(buf.asSlice().toHex()).toBe(hex);
      }
    }
  });

  test("is not touched", async () => {
    const buffer = sample();
    const before = [buffer.headroom, buffer.length, buffer.capacity, buffer.asSlice().toHex()];
    const [a] = DatagramPair.create();
    await a.sendMany([buffer, buffer]);
    expect([buffer.headroom, buffer.length, buffer.capacity, buffer.asSlice().toHex()]).toEqual(
      before,
    );
  });

  test("is refused when it is no bytes: nothing of the batch goes", async () => {
    const [a, b] = DatagramPair.create();
    for (const value of NOT_UINT8_ARRAYS) {
      await expect(a.send(value as Payload)).rejects.toThrow(TypeError);
      expect(() => a.trySend(value as Payload)).toThrow(TypeError);
      await expect(a.sendMany([ONE, value as Payload])).rejects.toThrow(TypeError);
      expect(() => a.trySendMany([ONE, value as Payload])).toThrow(TypeError);
    }
    for (const value of [undefined, null, ONE, { length: 1, 0: ONE }, "x"]) {
      await expect(a.sendMany(value as unknown as Payload[])).rejects.toThrow(TypeError);
    }
    expect(b.tryRecvMany([new Uint8Array(9)])).toBeTypeOf("symbol");
  });
});

describe("start and count", () => {
  test("choose a part of the array, from nothing to all of it", async () => {
    const parts: [SendManyOptions | undefined, number[]][] = [
      [undefined, [1, 2, 3]],
      [{}, [1, 2, 3]],
      [{ start: 1 }, [2, 3]],
      [{ count: 2 }, [1, 2]],
      [{ start: 1, count: 1 }, [2]],
      [{ start: 0, count: 3 }, [1, 2, 3]],
      [{ start: 3 }, []],
      [{ start: 3, count: 0 }, []],
    ];
    for (const [options, sent] of parts) {
      const socket = new BaseSocket();
      expect(await socket.sendMany(datagrams(1, 3), options)).toBe(sent.length);
      expect(socket.trySendMany(datagrams(1, 3), options)).toBe(sent.length);
      expect(socket.sent).toEqual([...sent, ...sent]);
    }
  });

  test("are refused beyond the array, and when they are no integers", async () => {
    const bad: SendManyOptions[] = [
      { start: 4 },
      { start: -1 },
      { start: 0.5 },
      { start: "1" as unknown as number },
      { count: 4 },
      { start: 1, count: 3 },
      { count: -1 },
      { count: Number.NaN },
      { to: [PEER, PEER] },
      { start: 2, to: [PEER, PEER] },
    ];
    for (const options of bad) {
      const socket = new BaseSocket();
      await expect(socket.sendMany(datagrams(1, 3), options)).rejects.toThrow(RangeError);
      expect(() => socket.trySendMany(datagrams(1, 3), options)).toThrow(RangeError);
      // And so when it has to wait for its turn before anybody looks.
      socket.sendPlan.push("full");
      const first = socket.send(ONE);
      const behind = socket.sendMany(datagrams(1, 3), options);
      socket.makeRoom();
      await expect(behind).rejects.toThrow(RangeError);
      await first;
      expect(socket.sent).toEqual([1]);
    }
  });
});

describe("a destination", () => {
  test("that is the peer is taken, one for all or one each", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    const same = SocketAddress.parse("192.0.2.1:53");
    expect(await socket.sendTo(ONE, same)).toBe(1);
    expect(socket.trySendTo(ONE, same)).toBe(1);
    expect(await socket.sendMany([ONE, ONE], { to: same })).toBe(2);
    expect(await socket.sendMany([ONE, ONE], { to: [PEER, same, OTHER] })).toBe(2);
    expect(socket.sent.length).toBe(6);
  });

  test("that is another is EISCONN, and names both", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    expect(await codeOf(socket.sendTo(ONE, OTHER))).toBe("EISCONN");
    expect(await codeOf(socket.sendMany([ONE], { to: OTHER }))).toBe("EISCONN");
    expect(() => socket.trySendTo(ONE, OTHER)).toThrow(
      "sendTo 192.0.2.2:53 EISCONN: the socket is connected to 192.0.2.1:53 and cannot send elsewhere",
    );
    expect(() => socket.trySendMany([ONE], { to: OTHER })).toThrow("EISCONN");
    expect(socket.sent).toEqual([]);
  });

  test("is EDESTADDRREQ on a type that does not know its peer", async () => {
    const socket = new BaseSocket();
    expect(await codeOf(socket.sendTo(ONE, PEER))).toBe("EDESTADDRREQ");
    expect(() => socket.trySendTo(ONE, PEER)).toThrow("EDESTADDRREQ");
    expect(socket.sendPolls).toBe(0);
  });

  test("that is no SocketAddress is a TypeError before anything of the batch goes", async () => {
    const socket = new ConnectedBaseSocket(PEER);
    for (const value of [null, "192.0.2.1:53", { address: "192.0.2.1", port: 53 }, 5]) {
      const to = value as unknown as SocketAddress;
      await expect(socket.sendTo(ONE, to)).rejects.toThrow(TypeError);
      expect(() => socket.trySendTo(ONE, to)).toThrow(TypeError);
      await expect(socket.sendMany([ONE], { to })).rejects.toThrow(TypeError);
      await expect(socket.sendMany([ONE, ONE], { to: [PEER, to] })).rejects.toThrow(TypeError);
    }
    await expect(socket.sendTo(ONE, undefined as never)).rejects.toThrow(TypeError);
    const holes = { to: [PEER, undefined] as unknown as SocketAddress[] };
    await expect(socket.sendMany([ONE, ONE], holes)).rejects.toThrow(TypeError);
    expect(socket.sent).toEqual([]);
  });
});

describe("sendMany on a full socket", () => {
  test("sends all, in order, however often it has to wait", async () => {
    const plan = fc.array(fc.constantFrom("sent" as const, "full" as const), { maxLength: 30 });
    const sizes = fc.array(fc.nat(5), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(plan, sizes, async (steps, counts) => {
        const socket = new BaseSocket();
        socket.sendPlan.push(...steps);
        let next = 0;
        const sends = counts.map((count) => {
          const bufs = datagrams(next, count + 2);
          next += count;
          // From the middle of an array.
          return socket.sendMany([ONE, ...bufs], { start: 1, count });
        });
        while (socket.sendPlan.length > 0 && socket.sendWaker !== null) socket.makeRoom();
        expect(await Promise.all(sends)).toEqual(counts);
        expect(socket.sent).toEqual(Array.from({ length: next }, (_, i) => i));
      }),
      { numRuns: 300 },
    );
  });

  test("answers the count when an error comes behind a wait; who is next in line gets it", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    socket.sendPlan.push("sent", "full", "sent", new Error("refused"));
    settled.watch("many", socket.sendMany(datagrams(1, 4)));
    settled.watch("one", socket.send(Uint8Array.of(8)));
    settled.watch("other", socket.send(Uint8Array.of(9)));
    await nextTurn();
    socket.makeRoom();
    await nextTurn();
    expect(settled.order).toEqual(["many 2", "one failed refused", "other 1"]);
    expect(socket.sent).toEqual([1, 2, 9]);
  });

  test("does not begin when an earlier batch left an error", async () => {
    const socket = new BaseSocket();
    socket.sendPlan.push("sent", new Error("refused"));
    expect(socket.trySendMany(datagrams(1, 3))).toBe(1);
    await expect(socket.sendMany(datagrams(4, 2))).rejects.toThrow("refused");
    expect(socket.sent).toEqual([1]);
  });

  test("ends when a type of one's own answers that it sent none", async () => {
    class Lazy extends BaseSocket {
      override pollSendMany(): number {
        return 0;
      }
    }
    expect(await new Lazy().sendMany(datagrams(1, 3))).toBe(0);
  });

  test("misuse by who waits in line rejects that one alone", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    socket.sendPlan.push("full");
    settled.watch("a", socket.send(ONE));
    settled.watch("b", socket.sendMany("x" as unknown as Payload[]));
    settled.watch("c", socket.sendTo(ONE, undefined as never));
    settled.watch("d", socket.send(ONE));
    socket.makeRoom();
    await nextTurn();
    expect(settled.order).toEqual([
      "a 1",
      'b failed "bufs" expected array, got "x"',
      'c failed "address" expected SocketAddress, got undefined',
      "d 1",
    ]);
  });
});
