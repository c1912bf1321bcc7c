/** Socket options by number, and the path MTU of a connected socket. */

import { describe, expect, test } from "bun:test";
import { UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { numberErrorOf } from "../tools/errors.ts";
import { HAS_IPV6, rejection, thrown } from "../tools/sockets.ts";

/** SOL_SOCKET and some of its options: <asm-generic/socket.h>. */
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_LINGER = 13;
const SO_PROTOCOL = 38;
const SO_MAX_PACING_RATE = 47;
const IPPROTO_UDP = 17;

describe("getOption and setOption", () => {
  test("read and set numbers and bytes", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    expect(socket.getOption(SOL_SOCKET, SO_PROTOCOL)).toBe(IPPROTO_UDP);
    socket.setOption(SOL_SOCKET, SO_RCVBUF, 20_000);
    // The kernel doubles it (socket(7)).
    expect(socket.getOption(SOL_SOCKET, SO_RCVBUF)).toBe(40_000);
    expect(socket.bufferBytes.receive).toBe(40_000);
    // `struct linger`: two ints.
    const linger = new Uint8Array(Int32Array.of(1, 5).buffer);
    socket.setOption(SOL_SOCKET, SO_LINGER, linger);
    const read = socket.getOption(SOL_SOCKET, SO_LINGER, 100);
    expect(read).toEqual(linger);
    expect(socket.getOption(SOL_SOCKET, SO_LINGER, 4)).toEqual(linger.slice(0, 4));
    expect(socket.getOption(SOL_SOCKET, SO_LINGER, 0)).toEqual(new Uint8Array(0));
    // Part of a larger buffer.
    const padded = new Uint8Array(20).fill(9);
    padded.set(new Uint8Array(Int32Array.of(1, 7).buffer), 3);
    socket.setOption(SOL_SOCKET, SO_LINGER, padded.subarray(3, 11));
    expect(socket.getOption(SOL_SOCKET, SO_LINGER, 8)).toEqual(padded.slice(3, 11));
    // An unsigned number is read as a C int.
    socket.setOption(SOL_SOCKET, SO_MAX_PACING_RATE, 0xffff_fffe);
    expect(socket.getOption(SOL_SOCKET, SO_MAX_PACING_RATE)).toBe(-2);
  });

  test("work on Unix sockets", async () => {
    const [left, right] = await UnixDatagram.pair();
    expect(left.getOption(SOL_SOCKET, 3)).toBe(2); // SO_TYPE, SOCK_DGRAM
    left.setOption(SOL_SOCKET, SO_RCVBUF, 20_000);
    expect(left.bufferBytes.receive).toBe(40_000);
    left.close();
    right.close();
  });

  test("report the errors of the system", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const unknown = { name: "SocketError", code: "ENOPROTOOPT" };
    expect(thrown(() => socket.getOption(SOL_SOCKET, 9999))).toMatchObject({
      ...unknown,
      syscall: "getsockopt",
    });
    expect(thrown(() => socket.setOption(SOL_SOCKET, 9999, 1))).toMatchObject({
      ...unknown,
      syscall: "setsockopt",
    });
    const empty = thrown(() => socket.setOption(SOL_SOCKET, SO_RCVBUF, new Uint8Array(0)));
    expect(empty).toMatchObject({ code: "EINVAL" });
    socket.close();
    const closed = { code: "ERR_SOCKET_CLOSED" };
    expect(thrown(() => socket.getOption(SOL_SOCKET, SO_RCVBUF))).toMatchObject(closed);
    expect(thrown(() => socket.setOption(SOL_SOCKET, SO_RCVBUF, 1))).toMatchObject(closed);
  });

  test("refuse invalid arguments", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    for (const number of [-1, 1.5, 2 ** 31, "1", null, undefined] as number[]) {
      expect(thrown(() => socket.getOption(number, 1))).toBeInstanceOf(numberErrorOf(number));
      expect(thrown(() => socket.getOption(1, number))).toBeInstanceOf(numberErrorOf(number));
      expect(thrown(() => socket.setOption(number, 1, 1))).toBeInstanceOf(numberErrorOf(number));
      expect(thrown(() => socket.setOption(1, number, 1))).toBeInstanceOf(numberErrorOf(number));
    }
    for (const bytesMax of [-1, 1.5, 65_537]) {
      expect(thrown(() => socket.getOption(1, 8, bytesMax))).toBeInstanceOf(RangeError);
    }
    for (const value of [2 ** 32, -(2 ** 31) - 1, 1.5, Number.NaN]) {
      expect(thrown(() => socket.setOption(1, 8, value))).toBeInstanceOf(RangeError);
    }
    for (const value of ["1", true, null, undefined, [1], new Uint16Array(2), new ArrayBuffer(4)]) {
      expect(thrown(() => socket.setOption(1, 8, value as never))).toBeInstanceOf(TypeError);
    }
    // UDP_SEGMENT and UDP_GRO: the offload option controls them.
    for (const name of [103, 104]) {
      expect(thrown(() => socket.setOption(IPPROTO_UDP, name, 100))).toBeInstanceOf(RangeError);
    }
  });

  test("copy bytes, whatever their class claims to be their length", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    class Liar extends Uint8Array {
      override get byteLength(): number {
        return 1 << 20;
      }
      override get length(): number {
        return 1 << 20;
      }
    }
    const value = new Liar(Int32Array.of(1, 5).buffer);
    socket.setOption(SOL_SOCKET, SO_LINGER, value);
    expect(socket.getOption(SOL_SOCKET, SO_LINGER, 8)).toEqual(
      Uint8Array.of(1, 0, 0, 0, 5, 0, 0, 0),
    );
  });

  test("and pathMtu require the native backend", async () => {
    using socket = await UdpSocket.bind({ backend: "portable" });
    const unsupported = { code: "ERR_NOT_SUPPORTED" };
    expect(thrown(() => socket.getOption(1, 8))).toMatchObject(unsupported);
    expect(thrown(() => socket.setOption(1, 8, 1))).toMatchObject(unsupported);
    expect(thrown(() => socket.setMulticastAll(true))).toMatchObject(unsupported);
    expect(thrown(() => socket.pathMtu)).toMatchObject(unsupported);
    for (const options of [{ multicastAll: true }, { multicastAll: false }, { dscp: 1 }]) {
      const error = await rejection(UdpSocket.bind({ ...options, backend: "portable" }));
      expect(error).toMatchObject(unsupported);
    }
  });
});

describe("pathMtu", () => {
  test.each(HAS_IPV6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"])(
    "is the MTU of loopback for a peer on %s, and absent without a peer",
    async (hostname) => {
      using receiver = await UdpSocket.bind({ hostname });
      expect(receiver.pathMtu).toBeUndefined();
      using sender = await UdpSocket.connect({ hostname, port: receiver.localAddr.port });
      // An IPv4 packet has at most 65535 bytes.
      expect(sender.pathMtu).toBe(hostname === "::1" ? 65_536 : 65_535);
      sender.close();
      expect(thrown(() => sender.pathMtu)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    },
  );
});
