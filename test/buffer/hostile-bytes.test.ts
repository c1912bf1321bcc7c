/** Source bytes that change their length while they are copied, or whose memory was transferred. */

import { describe, expect, spyOn, test } from "bun:test";
import { DgramBuffer, DgramBufferPool, SendBatch, UdpSocket } from "../../lib/index.ts";
import { Boastful, impostors } from "../tools/hostile.ts";
import { thrown } from "../tools/sockets.ts";

/** Returns an array whose own `length` is 4 when it is first read, and `later` after that. */
function growing(bytes: number, later: number): Uint8Array {
  const view = new Uint8Array(bytes).fill(7);
  let reads = 0;
  return Object.defineProperty(view, "length", { get: () => (reads++ === 0 ? 4 : later) });
}

function withPayload(headroom = 64): DgramBuffer {
  const buffer = DgramBuffer.withCapacityAndHeadroom(200, headroom);
  buffer.putSlice(Uint8Array.of(1, 2, 3));
  return buffer;
}

function transferred(bytes: number): Uint8Array {
  const view = new Uint8Array(new ArrayBuffer(bytes)).fill(7);
  (view.buffer as ArrayBuffer).transfer();
  return view;
}

describe("tryAddPrefix", () => {
  test("never changes the payload, whatever length a prefix claims", () => {
    for (const bytes of [4, 8, 30, 64]) {
      for (const later of [0, 3, 8, 40, 1000]) {
        const buffer = withPayload();
        const { headroom } = buffer;
        try {
          buffer.tryAddPrefix(growing(bytes, later));
        } catch {}
        const added = headroom - buffer.headroom;
        expect([...buffer.asSlice().subarray(added)]).toEqual([1, 2, 3]);
        expect([...buffer.asSlice().subarray(0, added)]).toEqual(new Array(added).fill(7));
      }
    }
  });

  test("throws RangeError for a prefix whose memory was transferred or has shrunk", () => {
    const resizable = new ArrayBuffer(8, { maxByteLength: 8 });
    const shrunk = new Uint8Array(resizable, 2, 4);
    resizable.resize(3);
    const lying = Object.defineProperty(transferred(8), "length", { value: 8 });
    for (const prefix of [transferred(8), transferred(100), shrunk, lying]) {
      const buffer = withPayload();
      expect(thrown(() => buffer.tryAddPrefix(prefix))).toBeInstanceOf(RangeError);
      expect([buffer.headroom, buffer.length]).toEqual([64, 3]);
    }
    const buffer = withPayload();
    expect(buffer.tryAddPrefix(new Uint8Array(0))).toBe(true);
    expect(buffer.tryAddPrefix(new Uint8Array(8).subarray(8))).toBe(true);
    expect(buffer.length).toBe(3);
  });

  test("a prefix whose elements change the buffer throws, and leaves it consistent", () => {
    const buffer = withPayload();
    const prefix = new Proxy(new Uint8Array(4), {
      get(target, name) {
        if (name === "2") buffer.intoParts();
        return Reflect.get(target, name);
      },
    });
    expect(thrown(() => buffer.tryAddPrefix(prefix))).toBeInstanceOf(TypeError);
    expect([buffer.headroom, buffer.length, buffer.capacity]).toEqual([0, 0, 0]);
  });

  test("objects that only inherit from Uint8Array change no payload", () => {
    for (const impostor of impostors()) {
      const buffer = withPayload();
      try {
        buffer.tryAddPrefix(impostor);
      } catch {}
      expect([...buffer.asSlice().subarray(-3)]).toEqual([1, 2, 3]);
    }
  });
});

describe("a prefix of 8 bytes, which is copied without a loop", () => {
  test("may overlap the headroom on either side", () => {
    for (const offset of [-7, -4, 0, 4, 7]) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(64, 32);
      buffer.putSlice(new Uint8Array(16).fill(9));
      const memory = new Uint8Array(buffer.asSlice().buffer);
      for (let i = 0; i < 64; i++) memory[i] = i;
      const prefix = memory.subarray(24 + offset, 32 + offset);
      const expected = [...prefix];
      expect(buffer.tryAddPrefix(prefix)).toBe(true);
      expect([...buffer.asSlice().subarray(0, 8)]).toEqual(expected);
    }
  });

  test("whose last byte is missing is refused, and changes nothing", () => {
    const buffer = withPayload();
    const lying = Object.defineProperty(new Uint8Array(7), "length", { value: 8 });
    expect(thrown(() => buffer.tryAddPrefix(lying))).toBeInstanceOf(RangeError);
    expect([buffer.headroom, buffer.length]).toEqual([64, 3]);
  });
});

describe("copies use the real length", () => {
  test("putSlice refuses objects that only inherit from Uint8Array, and keeps the payload", () => {
    const buffer = withPayload();
    const elements = {
      get 0() {
        buffer.intoParts();
        return 1;
      },
    };
    const view = Object.defineProperties(new DataView(new ArrayBuffer(1)), {
      ...Object.getOwnPropertyDescriptors(elements),
      length: { value: 1 },
    });
    Object.setPrototypeOf(view, Uint8Array.prototype);
    for (const bytes of [new Proxy(new Uint8Array(4), {}), Object.create(Uint8Array.prototype)]) {
      expect(thrown(() => buffer.putSlice(bytes))).toBeInstanceOf(TypeError);
      expect([...buffer.asSlice()]).toEqual([1, 2, 3]);
    }
    const code = thrown(() => buffer.putSlice(view as unknown as Uint8Array));
    expect(code).toBeInstanceOf(TypeError);
    expect([buffer.headroom, buffer.length, buffer.capacity]).toEqual([0, 0, 0]);
  });

  test("pushSlice of more bytes than the array has throws, whatever its length claims", () => {
    const batch = new SendBatch();
    const bytes = new Uint8Array(8);
    const lying = Object.defineProperty(new Uint8Array(8), "length", { value: 100 });
    for (const source of [bytes, lying]) {
      for (const [offset, length] of [
        [0, 9],
        [8, 1],
        [9, 0],
        [-1, 1],
        [0.5, 1],
        [0, 1.5],
        [0, Number.NaN],
      ] as const) {
        expect(thrown(() => batch.pushSlice(source, offset, length))).toBeInstanceOf(RangeError);
      }
    }
    expect(batch.length).toBe(0);
    expect(batch.pushSlice(bytes, 0, 8).pushSlice(bytes, 8, 0).pushSlice(lying, 7, 1).length).toBe(
      3,
    );
  });
  test("fromSlice, putSlice and put of a subclass with overridden getters", () => {
    const bytes = new Boastful(50).fill(5);
    expect(DgramBuffer.fromSlice(bytes).length).toBe(50);
    const buffer = withPayload();
    buffer.putSlice(bytes);
    buffer.put(bytes);
    expect(buffer.length).toBe(103);
    expect(DgramBuffer.from(new Boastful(50)).length).toBe(50);
  });

  test("putSlice of memory that another thread grows meanwhile fails, and changes nothing", () => {
    const buffer = DgramBuffer.withCapacity(16);
    buffer.putU8(1);
    const shared = new SharedArrayBuffer(4, { maxByteLength: 64 });
    const { set } = Uint8Array.prototype;
    // Between the moments when the length is read and when the bytes are copied.
    const growing = spyOn(Uint8Array.prototype, "set").mockImplementation(function (
      this: Uint8Array,
      ...args: Parameters<typeof set>
    ) {
      shared.grow(64);
      set.apply(this, args);
    });
    try {
      expect(() => buffer.putSlice(new Uint8Array(shared))).toThrow(RangeError);
    } finally {
      growing.mockRestore();
    }
    expect([buffer.length, buffer.spareCapacity, ...buffer.asSlice()]).toEqual([1, 15, 1]);
  });

  test("a pooled buffer does not expose bytes of earlier datagrams", () => {
    const pool = new DgramBufferPool({ capacity: 200, headroom: 0, initialBuffers: 1 });
    {
      using lease = pool.acquire();
      lease.buffer.putSlice(new Uint8Array(200).fill(0x5a));
    }
    using lease = pool.acquire();
    const lying = Object.defineProperty(new Uint8Array(10), "length", { value: 150 });
    lease.buffer.putSlice(lying);
    expect([...lease.buffer.asSlice()]).toEqual(new Array(10).fill(0));
  });

  test("a send refuses a DgramBuffer whose end is before its start", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const buffer = withPayload();
    Object.assign(buffer, { _start: buffer._end + 1 });
    for (const bufs of [[buffer], [Uint8Array.of(1), buffer]]) {
      expect(() => socket.trySendMany(bufs, { to: socket.localAddr })).toThrow("valid payload");
    }
    expect(socket.counters.datagramsSent).toBe(0);
  });

  test("SendBatch.prefix copies a prefix that changes its length at most once", () => {
    for (const later of [0, 3, 8, 1000]) {
      const batch = new SendBatch({ prefixBytes: 8 });
      try {
        batch.prefix(growing(8, later)).push(Uint8Array.of(1));
        expect(batch._firstBytes().length).toBe(9);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
    const batch = new SendBatch();
    expect(thrown(() => batch.prefix(transferred(8)))).toBeInstanceOf(RangeError);
    expect(thrown(() => batch.push(transferred(8)))).toBeInstanceOf(RangeError);
  });
});
