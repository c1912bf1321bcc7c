/**
 * The message vectors, on real sockets: the addresses that they contain, bounds, and the fields
 * that the kernel writes. An error in them usually shows as a crash, or as bytes of other memory.
 */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { IOVEC, MMSGHDR } from "../../ffi/layout.ts";
import { addressOf } from "../../ffi/memory.ts";
import type { ReceiveVector, SendVector } from "../../ffi/native.ts";
import { AF_INET, AF_UNIX } from "../../lib/address/sockaddr.ts";
import { SocketAddress } from "../../lib/index.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { mapAroundBoundary, PAGE } from "./mapped-memory.ts";
import { loadedNative, openPair, temporaryDirectory } from "./tools.ts";

const MSG_TRUNC = 0x20;

const native = loadedNative();

/** Two connected Unix datagram sockets, opened for each test. */
let left = -1;
let right = -1;
let pair: Disposable | undefined;

beforeEach(() => {
  const opened = openPair(native, SOCK_DGRAM);
  ({ left, right } = opened);
  pair = opened;
});
afterEach(() => pair?.[Symbol.dispose]());

function vectors(nameCapacity = 0): { received: ReceiveVector; sending: SendVector } {
  return {
    received: native.receiveVector(nameCapacity),
    sending: native.sendVector(nameCapacity),
  };
}

/** Sends one datagram from `left` to `right`. */
function send(sending: SendVector, bytes: Uint8Array): void {
  sending.reserve(1);
  sending.setBuffer(0, bytes, 0, bytes.byteLength);
  expect(sending.send(left, 0, 1)).toBe(1);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Returns the 64-bit number at byte `offset` of `words`. */
function address(words: Int32Array, offset: number): number {
  const low = (words[offset / 4] as number) >>> 0;
  return (words[offset / 4 + 1] as number) * 2 ** 32 + low;
}

describe("reserve", () => {
  test("sets the capacity to at least the requested number of slots, and never reduces it", () => {
    const { received } = vectors(28);
    expect(received.capacity).toBe(0);
    for (const [count, capacity] of [
      [0, 0],
      [1, 8],
      [8, 8],
      [9, 16],
      [1024, 1024],
      [3, 1024],
    ] as const) {
      received.reserve(count);
      expect([count, received.capacity]).toEqual([count, capacity]);
    }
  });

  test("points each header to its own iovec, name and control bytes in one block", () => {
    const received = native.receiveVector(28, 64);
    received.reserve(16);
    const { words } = received;
    const base = address(words, MMSGHDR.vector) - 16 * MMSGHDR.size;
    expect(base).toBe(addressOf(words));
    for (let i = 0; i < 16; i++) {
      const header = i * MMSGHDR.size;
      expect(address(words, header + MMSGHDR.name)).toBe(base + received.nameIndex(i) * 4);
      expect(address(words, header + MMSGHDR.control)).toBe(base + received.controlIndex(i) * 4);
      expect(address(words, header + MMSGHDR.vector)).toBe(
        base + 16 * MMSGHDR.size + i * IOVEC.size,
      );
      expect(address(words, header + MMSGHDR.vectorLength)).toBe(1);
      expect(address(words, header + MMSGHDR.control) % 8).toBe(0);
    }
    expect(received.nameIndex(15) * 4 + 28).toBeLessThanOrEqual(words.byteLength);
    expect(received.controlIndex(15) * 4 + 64).toBeLessThanOrEqual(received.nameIndex(0) * 4);
  });

  test("grows the vector between calls without losing a datagram or a destination", () => {
    using directory = temporaryDirectory();
    const destination = SocketAddress.unix(join(directory.path, "there"));
    const [server, client] = [open(AF_UNIX), open(AF_UNIX)];
    expect(native.bind(server, destination._encoded)).toBe(0);
    const { received, sending } = vectors(112);
    for (const count of [4, 16, 40]) {
      sending.reserve(count);
      received.reserve(count);
      let sent = 0;
      for (let done = 0; done < count; done += sent) {
        const limit = Math.min(count - done, 8);
        for (let i = 0; i < limit; i++) {
          sending.setBuffer(i, Uint8Array.of(done + i), 0, 1);
          sending.setDestination(i, destination._encoded);
        }
        sent = sending.send(client, 0, limit);
        expect(sent).toBe(limit);
        const target = new Uint8Array(limit);
        for (let i = 0; i < limit; i++) received.setBuffer(i, target, i, 1);
        expect(received.receive(server, 0, limit)).toBe(limit);
        expect([...target]).toEqual(Array.from({ length: limit }, (_, i) => done + i));
      }
    }
    for (const fd of [server, client]) native.close(fd);
  });
});

describe("setBuffer", () => {
  test("throws RangeError for a range that exceeds the view, and leaves the slot unchanged", () => {
    const { received } = vectors();
    received.reserve(1);
    const view = new Uint8Array(new ArrayBuffer(32), 8, 16);
    received.setBuffer(0, view, 4, 12);
    const before = [...received.words];
    for (const [start, length] of [
      [0, 17],
      [16, 1],
      [17, 0],
      [4, 13],
      [0, -1],
    ] as const) {
      expect(() => received.setBuffer(0, view, start, length)).toThrow(RangeError);
    }
    expect([...received.words]).toEqual(before);
  });

  test("throws RangeError for transferred or shrunk memory, even of a view set before", () => {
    const { received } = vectors();
    received.reserve(2);
    const transferred = new Uint8Array(64);
    const resizable = new ArrayBuffer(64, { maxByteLength: 128 });
    const tracking = new Uint8Array(resizable);
    received.setBuffer(0, transferred, 0, 64);
    received.setBuffer(1, tracking, 0, 64);
    structuredClone(transferred.buffer, { transfer: [transferred.buffer] });
    resizable.resize(16);
    expect(() => received.setBuffer(0, transferred, 0, 64)).toThrow("transferred");
    expect(() => received.setBuffer(1, tracking, 0, 64)).toThrow(RangeError);
    received.setBuffer(0, transferred, 0, 0);
    resizable.resize(128);
    received.setBuffer(1, tracking, 64, 64);
  });

  test("uses the real length of a subclass that overrides byteLength with a larger value", () => {
    class Padded extends Uint8Array {
      override get byteLength(): number {
        return 64;
      }
    }
    const memory = new Uint8Array(new ArrayBuffer(64)).fill(7);
    const padded = new Padded(memory.buffer, 0, 4);
    const { received, sending } = vectors();
    received.reserve(1);
    sending.reserve(1);
    expect(() => sending.append(padded, 0, 64, false)).toThrow(RangeError);
    sending.loadWhole(0, padded);
    expect(sending.prepare(0)).toBe(4);
    sending.rewind();
    expect(sending.appendEqual(0, 1, 64)).toBe(0);
    send(vectors().sending, new Uint8Array(64));
    received.setView(0, padded);
    expect(received.receive(right, 0, 1)).toBe(1);
    expect([...memory]).toEqual([...new Array(4).fill(0), ...new Array(60).fill(7)]);
  });

  test("throws RangeError for a view of 2^32 bytes, and accepts 2^32 - 1", () => {
    const { received } = vectors();
    received.reserve(1);
    // Takes up address space only: the memory is never written.
    const huge = new Uint8Array(2 ** 32);
    expect(() => received.setView(0, huge)).toThrow(RangeError);
    received.setView(0, huge.subarray(1));
  });

  test("receives into the given bytes only if the view is part of a larger buffer", () => {
    const { received, sending } = vectors();
    const whole = new Uint8Array(300).fill(0xee);
    const view = whole.subarray(101, 105);
    received.reserve(1);
    received.setBuffer(0, view, 1, 3);
    send(sending, bytesOf("abcdef").subarray(1));
    expect(received.receive(right, 0, 1)).toBe(1);
    expect(received.lengthAt(0)).toBe(5);
    expect([...whole.subarray(100, 106)]).toEqual([0xee, 0xee, 98, 99, 100, 0xee]);
    expect(whole.filter((byte) => byte !== 0xee).length).toBe(3);
  });

  test("sends and receives an empty datagram with an empty view", () => {
    const { received, sending } = vectors();
    received.reserve(1);
    received.setBuffer(0, new Uint8Array(0), 0, 0);
    for (const empty of [new Uint8Array(0), new Uint8Array(8).subarray(8)]) {
      send(sending, empty);
      expect(received.receive(right, 0, 1)).toBe(1);
      expect(received.lengthAt(0)).toBe(0);
    }
  });

  test("receives into shared memory", () => {
    const { received, sending } = vectors();
    const shared = new Uint8Array(new SharedArrayBuffer(64)).subarray(32);
    received.reserve(1);
    received.setBuffer(0, shared, 0, 32);
    send(sending, bytesOf("shared"));
    expect(received.receive(right, 0, 1)).toBe(1);
    expect(new TextDecoder().decode(shared.slice(0, 6))).toBe("shared");
  });
});

describe("addresses of more than 32 bits", () => {
  /** Four pages: two before and two after a multiple of 4 GiB. */
  const memory = mapAroundBoundary(1024);
  const base = memory.boundary - 2 * PAGE;

  test("are written correctly before and after a 4 GiB boundary within a view", () => {
    const { received } = vectors();
    received.reserve(1);
    const view = new Uint8Array(memory.buffer);
    expect(addressOf(view)).toBe(base);
    const iovec = received.capacity * MMSGHDR.size;
    for (const start of [0, 1, 2 * PAGE - 1, 2 * PAGE, 2 * PAGE + 1, 4 * PAGE]) {
      received.setBuffer(0, view, start, 4 * PAGE - start);
      expect(address(received.words, iovec + IOVEC.base)).toBe(base + start);
      expect(address(received.words, iovec + IOVEC.length)).toBe(4 * PAGE - start);
    }
  });

  test("are written correctly for a view that starts at a 4 GiB boundary", () => {
    const { received } = vectors();
    received.reserve(1);
    const view = new Uint8Array(memory.buffer, 2 * PAGE);
    const iovec = received.capacity * MMSGHDR.size;
    for (const start of [0, 1, 2 * PAGE]) {
      received.setBuffer(0, view, start, 0);
      expect(address(received.words, iovec)).toBe(memory.boundary + start);
    }
  });

  test("transfer datagrams unchanged across a 4 GiB boundary", () => {
    const { received, sending } = vectors();
    const view = new Uint8Array(memory.buffer);
    for (const start of [2 * PAGE - 300, 2 * PAGE - 1, 2 * PAGE]) {
      view.fill(0);
      const datagram = Uint8Array.from({ length: 600 }, (_, i) => (i * 7 + start) & 0xff);
      received.reserve(1);
      received.setBuffer(0, view, start, 600);
      send(sending, datagram);
      expect(received.receive(right, 0, 1)).toBe(1);
      expect(view.slice(start, start + 600)).toEqual(datagram);
      sending.setBuffer(0, view, start, 600);
      expect(sending.send(left, 0, 1)).toBe(1);
      const back = new Uint8Array(600);
      received.setBuffer(0, back, 0, 600);
      expect(received.receive(right, 0, 1)).toBe(1);
      expect(back).toEqual(datagram);
    }
  });
});

describe("reuse of a message header", () => {
  test("the name length and the flags are reset for each receive", () => {
    using directory = temporaryDirectory();
    const long = SocketAddress.unix(join(directory.path, "l".repeat(100 - directory.path.length)));
    const [server, client] = [open(AF_UNIX), open(AF_UNIX)];
    const destination = SocketAddress.unix(join(directory.path, "s"));
    native.bind(server, destination._encoded);
    native.bind(client, long._encoded);
    const received = native.receiveVector(32);
    const { sending } = vectors(112);
    received.reserve(1);
    sending.reserve(1);
    const target = new Uint8Array(4);
    received.setBuffer(0, target, 0, 4);
    const names = new Uint8Array(received.words.buffer, received.nameIndex(0) * 4, 64);
    const deliver = (from: number, bytes: Uint8Array) => {
      sending.setBuffer(0, bytes, 0, bytes.byteLength);
      sending.setDestination(0, destination._encoded);
      names.fill(0xaa);
      expect(sending.send(from, 0, 1)).toBe(1);
      expect(received.receive(server, 0, 1)).toBe(1);
      // The name of the next slot must not be overwritten.
      expect(names.subarray(32).every((byte) => byte === 0xaa)).toBe(true);
      return [received.lengthAt(0), received.nameLengthAt(0), received.flagsAt(0)];
    };
    const unnamed = open(AF_UNIX);
    // First payload and name are truncated, then the name is absent, then only it is truncated.
    expect(deliver(client, bytesOf("truncated"))).toEqual([9, long._encoded.length, MSG_TRUNC]);
    expect(deliver(unnamed, bytesOf("ok"))).toEqual([2, 0, 0]);
    expect(deliver(client, bytesOf("fits"))).toEqual([4, long._encoded.length, 0]);
    expect(deliver(client, bytesOf("more"))).toEqual([4, long._encoded.length, 0]);
    expect([...names.subarray(0, 32)]).toEqual([
      ...new Uint8Array(long._encoded.words.buffer, 0, 32),
    ]);
    for (const fd of [server, client, unnamed]) native.close(fd);
  });

  test("a destination can be replaced by a shorter one, and by none", () => {
    using directory = temporaryDirectory();
    const { sending } = vectors(112);
    sending.reserve(1);
    const long = SocketAddress.unix(join(directory.path, "a-longer-name"));
    const short = SocketAddress.unix(join(directory.path, "b"));
    const servers = [open(AF_UNIX), open(AF_UNIX)] as const;
    native.bind(servers[0], long._encoded);
    native.bind(servers[1], short._encoded);
    const { received } = vectors();
    received.reserve(1);
    const target = new Uint8Array(8);
    received.setBuffer(0, target, 0, 8);
    for (const [destination, reader] of [
      [long, servers[0]],
      [short, servers[1]],
      [undefined, right],
      [long, servers[0]],
    ] as const) {
      sending.setBuffer(0, bytesOf("x"), 0, 1);
      sending.setDestination(0, destination?._encoded);
      expect(sending.send(left, 0, 1)).toBe(1);
      expect(received.receive(reader, 0, 1)).toBe(1);
    }
    for (const fd of servers) native.close(fd);
  });

  test("the control length is reset for each receive", () => {
    const received = native.receiveVector(28, 64);
    received.reserve(1);
    const [server, client] = [open(AF_INET), open(AF_INET)];
    native.bind(server, SocketAddress.ip("127.0.0.1", 0)._encoded);
    const port = SocketAddress._decode(native.scratch, 0, native.name(server)).port;
    native.connect(client, SocketAddress.ip("127.0.0.1", port)._encoded);
    const { sending } = vectors();
    sending.reserve(1);
    const target = new Uint8Array(4);
    const controlLengths: number[] = [];
    const IPPROTO_IP = 0;
    const IP_PKTINFO = 8;
    for (const isEnabled of [0, 1, 0, 1]) {
      expect(native.setIntOption(server, IPPROTO_IP, IP_PKTINFO, isEnabled)).toBe(0);
      sending.setBuffer(0, bytesOf("meta"), 0, 4);
      expect(sending.send(client, 0, 1)).toBe(1);
      received.setBuffer(0, target, 0, 4);
      expect(received.receive(server, 0, 1)).toBe(1);
      controlLengths.push(received.controlLengthAt(0));
    }
    expect(controlLengths).toEqual([0, 32, 0, 32]);
    native.close(server);
    native.close(client);
  });
});

function open(domain: number): number {
  const fd = native.open(domain, SOCK_DGRAM, 0);
  expect(fd).toBeGreaterThanOrEqual(0);
  return fd;
}
