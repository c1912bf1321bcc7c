/** The send half: payloads, ranges, destinations, and `sendMany` on a full socket. */

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
import { nextTick } from "../tools/sockets.ts";
import { ConnectedScriptedSocket, datagrams, ScriptedSocket, Settled } from "./scripted-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const OTHER = SocketAddress.ip("192.0.2.2", 53);
const ONE = Uint8Array.of(1);

/** Values that are neither text nor memory. */
const NOT_SENDABLE = NOT_UINT8_ARRAYS.filter(
  (value) => typeof value !== "string" && !ArrayBuffer.isView(value) && !isMemory(value),
);

function isMemory(value: unknown): boolean {
  return value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;
}

/** Returns the code of the error that a promise rejects with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => ({ code: "none" }),
    (reason: unknown) => reason,
  );
  return (error as SocketError).code;
}

describe("a payload", () => {
  test("may be a Uint8Array, a view, a Buffer or a DgramBuffer with headroom", async () => {
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

  test("is not modified", async () => {
    const buffer = sample();
    const before = [buffer.headroom, buffer.length, buffer.capacity, buffer.asSlice().toHex()];
    const [a] = DatagramPair.create();
    await a.sendMany([buffer, buffer]);
    expect([buffer.headroom, buffer.length, buffer.capacity, buffer.asSlice().toHex()]).toEqual(
      before,
    );
  });

  test("of another type is refused, and nothing of its batch is sent", async () => {
    const [a, b] = DatagramPair.create();
    for (const value of NOT_SENDABLE) {
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

describe("start and count of sendMany", () => {
  test("select a range of the array, from none to all of it", async () => {
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
      const socket = new ScriptedSocket();
      expect(await socket.sendMany(datagrams(1, 3), options)).toBe(sent.length);
      expect(socket.trySendMany(datagrams(1, 3), options)).toBe(sent.length);
      expect(socket.sent).toEqual([...sent, ...sent]);
    }
  });

  test("are refused if they exceed the array or are not integers", async () => {
    const bad: SendManyOptions[] = [
      { start: 4 },
      { start: -1 },
      { start: 0.5 },
      { count: 4 },
      { start: 1, count: 3 },
      { count: -1 },
      { count: Number.NaN },
      { to: [PEER, PEER] },
      { start: 2, to: [PEER, PEER] },
    ];
    for (const options of bad) {
      const socket = new ScriptedSocket();
      await expect(socket.sendMany(datagrams(1, 3), options)).rejects.toThrow(RangeError);
      expect(() => socket.trySendMany(datagrams(1, 3), options)).toThrow(RangeError);
      // The same if the call is queued, and its arguments are checked later.
      socket.sendPlan.push("full");
      const first = socket.send(ONE);
      const queued = socket.sendMany(datagrams(1, 3), options);
      socket.makeRoom();
      await expect(queued).rejects.toThrow(RangeError);
      await first;
      expect(socket.sent).toEqual([1]);
    }
  });
});

describe("a send destination", () => {
  test("equal to the peer is accepted, as one for all datagrams or one for each", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
    const same = SocketAddress.parse("192.0.2.1:53");
    expect(await socket.sendTo(ONE, same)).toBe(1);
    expect(socket.trySendTo(ONE, same)).toBe(1);
    expect(await socket.sendMany([ONE, ONE], { to: same })).toBe(2);
    expect(await socket.sendMany([ONE, ONE], { to: [PEER, same, OTHER] })).toBe(2);
    expect(socket.sent.length).toBe(6);
  });

  test("other than the peer fails with EISCONN and names both addresses", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
    expect(await codeOf(socket.sendTo(ONE, OTHER))).toBe("EISCONN");
    expect(await codeOf(socket.sendMany([ONE], { to: OTHER }))).toBe("EISCONN");
    expect(() => socket.trySendTo(ONE, OTHER)).toThrow(
      "sendTo 192.0.2.2:53 EISCONN: the socket is connected to 192.0.2.1:53 and cannot send elsewhere",
    );
    expect(() => socket.trySendMany([ONE], { to: OTHER })).toThrow("EISCONN");
    expect(socket.sent).toEqual([]);
  });

  test("fails with EDESTADDRREQ on a subclass that does not know its peer", async () => {
    const socket = new ScriptedSocket();
    expect(await codeOf(socket.sendTo(ONE, PEER))).toBe("EDESTADDRREQ");
    expect(() => socket.trySendTo(ONE, PEER)).toThrow("EDESTADDRREQ");
    expect(socket.sendPolls).toBe(0);
  });

  test("that is no address fails with a TypeError before a datagram is sent", async () => {
    const socket = new ConnectedScriptedSocket(PEER);
    for (const value of [null, "192.0.2.1:53", { address: "localhost", port: 53 }, 5]) {
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
  test("sends all datagrams in order, however often it has to wait", async () => {
    const plan = fc.array(fc.constantFrom("sent" as const, "full" as const), { maxLength: 30 });
    const sizes = fc.array(fc.nat(5), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(plan, sizes, async (steps, counts) => {
        const socket = new ScriptedSocket();
        socket.sendPlan.push(...steps);
        let next = 0;
        const sends = counts.map((count) => {
          const bufs = datagrams(next, count + 2);
          next += count;
          // A range in the middle of the array.
          return socket.sendMany([ONE, ...bufs], { start: 1, count });
        });
        while (socket.sendPlan.length > 0 && socket.sendWaker !== null) socket.makeRoom();
        expect(await Promise.all(sends)).toEqual(counts);
        expect(socket.sent).toEqual(Array.from({ length: next }, (_, i) => i));
      }),
      { numRuns: 300 },
    );
  });

  test("rejects with the refused datagram's error, and later callers are served", async () => {
    const socket = new ScriptedSocket();
    const settled = new Settled();
    socket.refuses = 3;
    socket.sendPlan.push("sent", "full");
    const many = socket.sendMany(datagrams(1, 4));
    settled.watch("many", many);
    settled.watch("one", socket.send(Uint8Array.of(8)));
    settled.watch("other", socket.send(Uint8Array.of(9)));
    await nextTick();
    socket.makeRoom();
    await nextTick();
    expect(settled.order).toEqual(["many failed send EPERM", "one 1", "other 1"]);
    expect(socket.sent).toEqual([1, 2, 8, 9]);
    await expect(many).rejects.toMatchObject({ code: "EPERM", sent: 2 });
  });

  test("of another caller is not affected by a datagram that trySendMany could not send", async () => {
    const socket = new ScriptedSocket();
    socket.refuses = 2;
    expect(socket.trySendMany(datagrams(1, 3))).toBe(1);
    expect(await socket.sendMany(datagrams(4, 2))).toBe(2);
    expect(socket.sent).toEqual([1, 4, 5]);
  });

  test("checks a batch of more than 1024 datagrams before it sends the first", async () => {
    const socket = new ScriptedSocket();
    const bufs: unknown[] = Array.from({ length: 3000 }, () => ONE);
    bufs[2500] = 5;
    await expect(socket.sendMany(bufs as Payload[])).rejects.toThrow(TypeError);
    expect(socket.sent).toEqual([]);
  });

  test("stores a waker only if the poll returns Pending", () => {
    const socket = new ScriptedSocket();
    socket.sendPlan.push("sent", "full");
    expect(socket.pollSendMany(() => {}, datagrams(1, 3))).toBe(1);
    expect(socket.sendWaker).toBeNull();
  });

  test("ends if the pollSendMany of a subclass returns 0", async () => {
    class Stuck extends ScriptedSocket {
      override pollSendMany(): number {
        return 0;
      }
    }
    expect(await new Stuck().sendMany(datagrams(1, 3))).toBe(0);
  });

  test("invalid arguments of a queued call reject that call only", async () => {
    const socket = new ScriptedSocket();
    const settled = new Settled();
    socket.sendPlan.push("full");
    settled.watch("a", socket.send(ONE));
    settled.watch("b", socket.sendMany("x" as unknown as Payload[]));
    settled.watch("c", socket.sendTo(ONE, undefined as never));
    settled.watch("d", socket.send(ONE));
    socket.makeRoom();
    await nextTick();
    expect(settled.order).toEqual([
      "a 1",
      'b failed "bufs" expected array, got "x"',
      'c failed "address" expected SocketAddress or { address, port }, got undefined',
      "d 1",
    ]);
  });
});
