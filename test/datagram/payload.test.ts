/** The buffers that sockets send from and receive into, and their checks. */

import { describe, expect, test } from "bun:test";
import {
  checkPayload,
  checkTarget,
  payloadBytes,
  storeDatagram,
} from "../../lib/datagram/payload.ts";
import { DgramBuffer } from "../../lib/index.ts";
import { counting, NOT_UINT8_ARRAYS, sample } from "../tools/buffer-samples.ts";

describe("checkPayload and checkTarget", () => {
  test("accept arrays and buffers, including empty ones and views of larger ones", () => {
    for (const value of [new Uint8Array(0), counting(3), Buffer.from("x"), new DgramBuffer()]) {
      expect(() => checkPayload("buf", value)).not.toThrow();
      expect(() => checkTarget("buf", value)).not.toThrow();
    }
    expect(() => checkPayload("buf", sample())).not.toThrow();
  });

  test("refuse other types with a TypeError", () => {
    for (const value of NOT_UINT8_ARRAYS) {
      expect(() => checkPayload("buf", value)).toThrow(TypeError);
      expect(() => checkTarget("buf", value)).toThrow(TypeError);
    }
  });

  test("checkTarget refuses a buffer with a payload, but not one with headroom only", () => {
    expect(() => checkTarget("buf", sample())).toThrow(
      '"buf" expected DgramBuffer without payload, got 6 bytes of payload',
    );
    expect(() => checkTarget("buf", sample())).toThrow(RangeError);
    const emptied = sample();
    emptied.advance(emptied.length);
    expect(() => checkTarget("buf", emptied)).not.toThrow();
  });
});

describe("payloadBytes", () => {
  test("returns the array itself, or the payload of a buffer without its headroom", () => {
    const bytes = counting(4);
    expect(payloadBytes(bytes)).toBe(bytes);
    expect(payloadBytes(sample()).toHex()).toBe("040506070809");
    expect(payloadBytes(new DgramBuffer()).length).toBe(0);
  });
});

describe("storeDatagram", () => {
  test("fills an array from its start, up to its length, and writes nothing outside it", () => {
    for (const length of [0, 1, 3, 4, 5, 9]) {
      const memory = new Uint8Array(12).fill(0xff);
      const stored = storeDatagram(memory.subarray(2, 6), counting(length));
      expect(stored).toBe(Math.min(length, 4));
      const expected = [0, 1, 2, 3].slice(0, length);
      expect([...memory.subarray(2, 6)]).toEqual([...expected, 255, 255, 255, 255].slice(0, 4));
      expect([...memory.subarray(0, 2), ...memory.subarray(6)]).toEqual(Array(8).fill(255));
    }
  });

  test("fills a buffer after its headroom, up to its spare capacity", () => {
    for (const length of [0, 1, 7, 8, 9, 100]) {
      const buffer = DgramBuffer.withCapacityAndHeadroom(12, 4);
      const before = buffer.asSlice().buffer;
      const stored = storeDatagram(buffer, counting(length));
      expect(stored).toBe(Math.min(length, 8));
      expect([buffer.headroom, buffer.length, buffer.capacity]).toEqual([4, stored, 12]);
      expect(buffer.asSlice().toHex()).toBe(counting(stored).toHex());
      expect(buffer.asSlice().buffer).toBe(before);
    }
  });

  test("keeps headroom that advance created, with its bytes", () => {
    const buffer = sample();
    buffer.advance(buffer.length);
    expect(storeDatagram(buffer, counting(9))).toBe(6);
    expect([buffer.headroom, buffer.length]).toEqual([10, 6]);
    expect(buffer.intoParts()[0].toHex()).toBe(`${counting(10).toHex()}${counting(6).toHex()}`);
  });

  test("stores nothing if there is no space", () => {
    expect(storeDatagram(new Uint8Array(0), counting(3))).toBe(0);
    const buffer = new DgramBuffer();
    expect(storeDatagram(buffer, counting(3))).toBe(0);
    expect(buffer.capacity).toBe(0);
  });
});
