/** Text, buffers and views as payloads; `{ address, port }` as destinations; iteration over copies. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  DatagramSocket,
  DgramBuffer,
  type Payload,
  Pending,
  type Sendable,
  SendBatch,
  type SocketAddress,
  UdpSocket,
  UnixDatagram,
  type Waker,
} from "../../lib/index.ts";
import { BACKENDS, rejection, thrown } from "../tools/sockets.ts";

const decoder = new TextDecoder();

function memory(...bytes: number[]): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

function shared(...bytes: number[]): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** What can be sent, and the bytes that must arrive. */
const SENDABLES: [name: string, value: Sendable, bytes: number[]][] = [
  ["text", "aü€", [97, 0xc3, 0xbc, 0xe2, 0x82, 0xac]],
  ["empty text", "", []],
  ["ArrayBuffer", memory(1, 2, 3), [1, 2, 3]],
  ["SharedArrayBuffer", shared(4, 5), [4, 5]],
  ["DataView of a part", new DataView(memory(0, 1, 2, 3), 1, 2), [1, 2]],
  ["Uint16Array of a part", new Uint16Array(memory(0, 0, 1, 2, 3, 4), 2, 2), [1, 2, 3, 4]],
  ["Buffer", Buffer.from("buf"), [98, 117, 102]],
  ["DgramBuffer", DgramBuffer.fromSlice(Uint8Array.of(7, 8)), [7, 8]],
];

describe.each([...BACKENDS])("%s backend", (backend) => {
  const open = () => UdpSocket.bind({ hostname: "127.0.0.1", backend });

  test.each(SENDABLES)("%s is sent by all calls", async (_, value, bytes) => {
    using receiver = await open();
    using sender = await open();
    const { address, port } = receiver.localAddr as { address: string; port: number };
    const to = { address, port };
    const connected = await UdpSocket.connect({ hostname: address, port }, { backend });
    expect(await sender.sendTo(value, to)).toBe(bytes.length);
    expect(sender.trySendTo(value, to)).toBe(bytes.length);
    expect(await connected.send(value)).toBe(bytes.length);
    expect(connected.trySend(value)).toBe(bytes.length);
    expect(await sender.sendMany([value, value], { to })).toBe(2);
    expect(sender.trySendMany([value], { to: [to] })).toBe(1);
    expect(await sender.sendBatch(new SendBatch().push(value, to))).toBe(1);
    const buf = new Uint8Array(16);
    for (let i = 0; i < 8; i++) {
      const length = await receiver.recv(buf);
      expect([...buf.subarray(0, length)]).toEqual(bytes);
    }
    connected.close();
  });

  test.each([1, 1n, null, undefined, [1], {}, Symbol("s"), () => 1])(
    "%p is refused as payload",
    async (value) => {
      using socket = await open();
      const to = socket.localAddr;
      const wrong = value as unknown as Sendable;
      const expected = "expected Uint8Array, DgramBuffer, string, ArrayBuffer or view";
      const errors = [
        await rejection(socket.sendTo(wrong, to)),
        thrown(() => socket.trySendTo(wrong, to)),
        await rejection(socket.sendMany([wrong], { to })),
        thrown(() => socket.trySendMany([wrong], { to })),
        thrown(() => new SendBatch().push(wrong, to)),
      ];
      for (const error of errors) {
        expect(error).toBeInstanceOf(TypeError);
        expect((error as Error).message).toContain(expected);
      }
      expect(socket.counters.datagramsSent).toBe(0);
    },
  );

  test("objects and addresses may be mixed, and each datagram reaches its peer", async () => {
    using sender = await open();
    const receivers = await Promise.all([open(), open(), open()]);
    const ports = receivers.map(({ localAddr }) => localAddr.port as number);
    const to = [0, 1, 2, 0, 1, 2].map((i) =>
      i === 1
        ? (receivers[1] as UdpSocket).localAddr
        : { address: "127.0.0.1", port: ports[i] as number },
    );
    expect(await sender.sendMany(["a", "b", "c", "d", "e", "f"], { to })).toBe(6);
    const buf = new Uint8Array(4);
    const got: string[] = [];
    for (const receiver of receivers) {
      for (let i = 0; i < 2; i++) {
        got.push(decoder.decode(buf.subarray(0, await receiver.recv(buf))));
      }
      receiver.close();
    }
    expect(got).toEqual(["a", "d", "b", "e", "c", "f"]);
  });

  test("a connected socket accepts its peer as an object, and no other", async () => {
    using receiver = await open();
    const port = receiver.localAddr.port as number;
    const socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    expect(await socket.sendTo("x", { address: "127.0.0.1", port })).toBe(1);
    const other = { address: "127.0.0.1", port: port === 1 ? 2 : port - 1 };
    expect(await rejection(socket.sendTo("x", other))).toMatchObject({ code: "EISCONN" });
    expect(thrown(() => socket.trySendTo("x", other))).toMatchObject({ code: "EISCONN" });
    expect(thrown(() => socket.trySendMany(["x"], { to: other }))).toMatchObject({
      code: "EISCONN",
    });
    socket.close();
  });

  test("the iteration yields copies with the sender, and a loop that is left loses none", async () => {
    using receiver = await open();
    using sender = await open();
    await sender.sendMany(["0", "1", "2", "3", "4"], { to: receiver.localAddr });
    const kept: { data: Uint8Array; peer: SocketAddress | undefined }[] = [];
    for (const count of [1, 3, 5]) {
      for await (const datagram of receiver) {
        kept.push(datagram);
        if (kept.length === count) break;
      }
    }
    expect(kept.map(({ data }) => decoder.decode(data))).toEqual(["0", "1", "2", "3", "4"]);
    expect(kept.every(({ peer }) => peer?.equals(sender.localAddr))).toBe(true);
    expect(new Set(kept.map(({ data }) => data.buffer)).size).toBe(5);
  });

  test("the iteration ends when the socket is closed", async () => {
    const receiver = await open();
    setTimeout(() => receiver.close(), 5);
    let count = 0;
    for await (const _ of receiver) count++;
    expect(count).toBe(0);
  });
});

describe("{ address, port }", () => {
  const REFUSED: [value: unknown, message: string][] = [
    [
      "localhost:9",
      '"address" expected SocketAddress or { address, port }, got "localhost:9" (create one with ' +
        "SocketAddress.ip, parse, unix or abstract; connect resolves host names)",
    ],
    [{ address: "127.0.0.1" }, "expected SocketAddress or { address, port }"],
    [null, "expected SocketAddress or { address, port }"],
    [{ address: "localhost", port: 9 }, "localhost"],
    [{ address: "127.0.0.1", port: 70_000 }, '"port" expected integer 0..65535, got 70000'],
    [{ address: "127.0.0.1", port: "9" }, '"port" expected integer 0..65535, got "9"'],
    [{ address: 1, port: 9 }, '"address" expected IP address, got 1'],
  ];

  test.each(REFUSED)("%j is refused", async (value, message) => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const error = thrown(() => socket.trySendTo("x", value as SocketAddress));
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    expect((error as Error).message).toContain(message);
    expect(socket.counters.sendCalls).toBe(0);
  });

  test("is read once for a call, and a change applies to the next call", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    let reads = 0;
    const to = {
      get address() {
        reads++;
        return "127.0.0.1";
      },
      port: receiver.localAddr.port as number,
    };
    await sender.sendTo("x", to);
    expect(reads).toBe(1);
    to.port = sender.localAddr.port as number;
    await sender.sendTo("y", to);
    const buf = new Uint8Array(1);
    await sender.recv(buf);
    expect(decoder.decode(buf)).toBe("y");
  });

  test("is read when the call is made, also if the datagram waits", async () => {
    const sent: string[] = [];
    let isFull = true;
    let waiting: (() => void) | null = null;
    class Full extends DatagramSocket {
      override pollSendTo(waker: Waker | null, buf: Payload, to: SocketAddress) {
        if (isFull) {
          waiting = waker;
          return Pending;
        }
        sent.push(`${decoder.decode(buf as Uint8Array)} ${to}`);
        return buf.length;
      }
      pollSend(): typeof Pending {
        return Pending;
      }
      pollRecvFrom(): typeof Pending {
        return Pending;
      }
    }
    const socket = new Full();
    const to = { address: "192.0.2.1", port: 1 };
    const first = socket.sendTo("a", to);
    to.port = 2;
    const second = socket.sendTo("b", to);
    to.port = 3;
    isFull = false;
    (waiting as (() => void) | null)?.();
    await Promise.all([first, second]);
    expect(sent).toEqual(["a 192.0.2.1:1", "b 192.0.2.1:2"]);
  });

  test("more than are kept still reach the right peer", async () => {
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const port = receiver.localAddr.port as number;
    for (let i = 0; i < 3000; i++) {
      new SendBatch().push("", { address: `127.1.${i >> 8}.${i & 255}`, port });
    }
    await sender.sendTo("z", { address: "127.0.0.1", port });
    const { length } = await receiver.recvFrom(new Uint8Array(1));
    expect(length).toBe(1);
  });
});

describe("other sockets", () => {
  test("a socket type of one's own gets bytes from all calls", async () => {
    const sent: Payload[] = [];
    class Sink extends DatagramSocket {
      pollSend(_waker: unknown, buf: Payload): number {
        sent.push(buf);
        return buf.length;
      }
      pollRecvFrom(): typeof Pending {
        return Pending;
      }
    }
    const sink = new Sink();
    await sink.send("a");
    sink.trySend(memory(98));
    await sink.sendMany(["c", memory(100)]);
    expect(sent.every((bytes) => bytes instanceof Uint8Array)).toBe(true);
    expect(sent.map((bytes) => decoder.decode(bytes as Uint8Array)).join("")).toBe("abcd");
  });

  test("DatagramPair and Unix sockets send text", async () => {
    const [left, right] = DatagramPair.create();
    const [first, second] = await UnixDatagram.pair();
    const pairs: [DatagramSocket, DatagramSocket][] = [
      [left, right],
      [first, second],
    ];
    for (const [sender, receiver] of pairs) {
      await sender.send("hi");
      for await (const { data } of receiver) {
        expect(decoder.decode(data)).toBe("hi");
        break;
      }
    }
    for (const socket of [left, right, first, second]) socket[Symbol.dispose]();
  });

  test("Unix sockets refuse IP addresses", async () => {
    const [left, right] = await UnixDatagram.pair();
    const error = await rejection(left.sendTo("x", { address: "127.0.0.1", port: 9 }));
    expect(String(error)).toContain('"address" expected path or SocketAddress');
    left.close();
    right.close();
  });
});
