/** What `JSON.stringify` and `Bun.inspect` print: state, and never memory outside of a payload. */

import { describe, expect, test } from "bun:test";
import { inspect } from "node:util";
import {
  AddressMap,
  DatagramPair,
  DatagramSocket,
  DgramBuffer,
  DgramBufferPool,
  MaybeConnectedSocket,
  Pending,
  QuicAuditStats,
  RecvBatch,
  RecvMeta,
  SendBatch,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import { HttpDatagramHeader } from "../../lib/masque/index.ts";
import { SimNetwork } from "../../lib/testing/index.ts";

/** Returns what the three ways of printing a value print, in one line each. */
const printed = (value: unknown): string[] => [
  JSON.stringify(value),
  Bun.inspect(value),
  inspect(value),
];

describe("addresses", () => {
  test.each([
    [SocketAddress.ip("192.0.2.1", 53), "192.0.2.1:53"],
    [SocketAddress.ip("2001:db8::1", 443), "[2001:db8::1]:443"],
    [SocketAddress.unix("/run/x.sock"), "unix:/run/x.sock"],
    [SocketAddress.abstract("name"), "unix:@name"],
  ])("%s is its text", (address, text) => {
    const shown = `SocketAddress(${text})`;
    expect(printed(address)).toEqual([JSON.stringify(text), shown, shown]);
  });

  test("a path that starts with @ differs from the abstract name", () => {
    const path = SocketAddress.unix("@name");
    expect(path.address).toBe("@name");
    expect(`${path}`).toBe("unix:./@name");
    expect(`${SocketAddress.abstract("name")}`).toBe("unix:@name");
  });

  test("metadata prints its addresses as text", () => {
    const meta = new RecvMeta();
    meta.peer = SocketAddress.ip("192.0.2.1", 53);
    expect(JSON.parse(JSON.stringify(meta)).peer).toBe("192.0.2.1:53");
  });
});

describe("buffers", () => {
  test("print their payload only, not the headroom, the spare capacity or earlier payloads", () => {
    const buffer = DgramBuffer.withCapacityAndHeadroom(64, 8);
    buffer.putBytes(0x5e, 40);
    buffer.truncate(0);
    buffer.putSlice(Uint8Array.of(1, 2, 0xff));
    buffer.advance(1);
    expect(JSON.stringify(buffer)).toBe('{"headroom":9,"length":2,"payload":"02ff"}');
    for (const text of printed(buffer)) expect(text).not.toMatch(/5e|94/);
  });

  test("an empty buffer prints no bytes", () => {
    expect(JSON.stringify(new DgramBuffer())).toBe('{"headroom":0,"length":0,"payload":""}');
  });

  test("a lease of a pool prints no bytes of its former user", () => {
    const pool = new DgramBufferPool();
    {
      using first = pool.acquire();
      first.buffer.putBytes(0x5e, 100);
    }
    using second = pool.acquire();
    expect(pool.hits).toBe(1);
    second.buffer.putSlice(Uint8Array.of(1, 2));
    expect(JSON.parse(JSON.stringify(second))).toEqual({
      isHeld: true,
      buffer: { headroom: 16, length: 2, payload: "0102" },
    });
    const shown =
      "BufferLease(DgramBuffer { length: 2, headroom: 16, capacity: 1516, payload: 0102 })";
    expect(printed(second).slice(1)).toEqual([shown, shown]);
    second[Symbol.dispose]();
    expect(JSON.stringify(second)).toBe('{"isHeld":false}');
    expect(Bun.inspect(second)).toBe("BufferLease(not held)");
  });
});

describe("batches", () => {
  test("print sizes, no bytes", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const received = new RecvBatch();
    const out = new SendBatch({ datagrams: 4 });
    expect(JSON.stringify(out)).toBe('{"length":0,"capacity":4,"prefixBytesMax":16}');
    out.push(Uint8Array.of(0x5e, 0x5e), socket.localAddr);
    expect(JSON.parse(JSON.stringify(out)).length).toBe(1);
    for (const text of printed(out).slice(1)) {
      expect(text).toBe("SendBatch { length: 1, capacity: 4, prefixBytesMax: 16 }");
    }
    await socket.sendBatch(out);
    await socket.recvBatch(received);
    const { messagesMax } = received;
    const state = { length: 1, messages: 1, messagesMax };
    expect(JSON.parse(JSON.stringify(received))).toEqual(state);
    for (const text of printed(received).slice(1)) {
      expect(text).toBe(`RecvBatch { length: 1, messages: 1, messagesMax: ${messagesMax} }`);
    }
  });
});

describe.each(["native", "portable"] as const)("sockets, %s backend", (backend) => {
  test("print addresses, backend, state and counters", async () => {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    await socket.sendTo(new Uint8Array(7), socket.localAddr);
    const state = JSON.parse(JSON.stringify(socket));
    expect(Object.keys(state)).toEqual(["type", "localAddr", "backend", "isClosed", "counters"]);
    expect(state).toMatchObject({ type: "UdpSocket", localAddr: `${socket.localAddr}`, backend });
    expect(state.counters.bytesSent).toBe(7);
    const shown = (end: string) =>
      `UdpSocket { local: ${socket.localAddr}, backend: ${backend}, ${end} }`;
    const open = shown("open, received: 0, sent: 1");
    expect(printed(socket).slice(1)).toEqual([open, open]);
    socket.close();
    expect(Bun.inspect(socket)).toBe(shown("closed, received: 0, sent: 1"));
    expect(JSON.parse(JSON.stringify(socket)).isClosed).toBe(true);
  });
});

test("a connected socket prints its peer, a subclass its own name", async () => {
  await using udp = await UdpSocket.connect({ hostname: "127.0.0.1", port: 9 });
  expect(JSON.parse(JSON.stringify(udp)).peerAddr).toBe("127.0.0.1:9");
  expect(Bun.inspect(udp)).toContain(`local: ${udp.localAddr}, peer: 127.0.0.1:9, `);
  await using unix = await UnixDatagram.bind(SocketAddress.abstract(`inspect-${process.pid}`));
  expect(Bun.inspect(unix)).toStartWith(`UnixDatagram { local: unix:@inspect-${process.pid}, `);
});

describe("other sockets", () => {
  test("a DatagramPair is its state, without the queued datagrams", async () => {
    const [left, right] = DatagramPair.create();
    await left.send(Uint8Array.of(77, 77));
    const shown = "DatagramPair { queuedDatagrams: 1, isClosed: false }";
    expect(printed(right)).toEqual(['{"queuedDatagrams":1,"isClosed":false}', shown, shown]);
  });

  test("a MaybeConnectedSocket is its peer and the wrapped socket", () => {
    const [left] = DatagramPair.create();
    const shown = "MaybeConnectedSocket { peer: none, inner: a DatagramPair }";
    const json = '{"inner":{"queuedDatagrams":0,"isClosed":false}}';
    expect(printed(new MaybeConnectedSocket(left))).toEqual([json, shown, shown]);
  });

  test("a SimSocket is its addresses, whether it is open, and its counters", async () => {
    const network = new SimNetwork({ seed: 1 });
    const socket = network.bind("192.0.2.1", 9);
    const shown = "SimSocket { local: 192.0.2.1:9, open }";
    const [json, ...others] = printed(socket);
    expect(others).toEqual([shown, shown]);
    expect(JSON.parse(json as string)).toMatchObject({
      localAddr: "192.0.2.1:9",
      isClosed: false,
      counters: { datagramsSent: 0 },
    });
  });
});

describe("objects in one line", () => {
  test("metadata is its fields that are known", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await socket.sendTo("abc", socket.localAddr);
    const meta = await socket.recvFrom(new Uint8Array(9));
    const shown = `RecvMeta { length: 3, datagramLength: 3, peer: ${socket.localAddr} }`;
    expect(printed(meta).slice(1)).toEqual([shown, shown]);
    expect(Bun.inspect(new RecvMeta())).toBe("RecvMeta { length: 0 }");
  });

  test("a batch of an iteration is its counts, as JSON only its datagrams", async () => {
    const [left, right] = DatagramPair.create();
    await left.send("x");
    for await (const batch of right.batches()) {
      expect(Bun.inspect(batch)).toBe("DatagramBatch { length: 1, skipped: 0 }");
      const json = JSON.parse(JSON.stringify(batch));
      expect([json.length, json.buffers.length, json.meta.length]).toEqual([1, 1, 1]);
      break;
    }
  });

  test("an AddressMap is its entries", () => {
    const map = new AddressMap<unknown>();
    for (let port = 1; port <= 10; port++) map.set({ address: "192.0.2.1", port }, port);
    const shown = Bun.inspect(map);
    expect(shown).toMatch(/^AddressMap\(10\) \{ (192\.0\.2\.1:\d+ => \d+, ){8}\.\.\. 2 more \}$/);
    expect(JSON.parse(JSON.stringify(map))["192.0.2.1:7"]).toBe(7);
  });

  test("a long buffer is its lengths and its first 64 bytes", () => {
    const shown = Bun.inspect(DgramBuffer.fromSlice(new Uint8Array(5000)));
    const start = "DgramBuffer { length: 5000, headroom: 0, capacity: 5000, payload: ";
    expect(shown).toBe(`${start}${"00".repeat(64)} ... 4936 more }`);
  });

  test("pools, clocks, records and headers are their state", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const stats = new QuicAuditStats(Uint8Array.of(1, 2));
    stats.sentConnCloseTransportErrorCode = 2n ** 60n;
    for (const [value, text] of [
      [new DgramBufferPool(), "DgramBufferPool { capacity: 1516, headroom: 16, maxBuffers: 1024, "],
      [new SimNetwork({ seed: 1 }).clock, "SimClock { now: 0 }"],
      [stats, "QuicAuditStats { quicConnectionId: 0102, "],
      [
        new HttpDatagramHeader(),
        "HttpDatagramHeader { streamId: 0, contextId: 0, payloadOffset: 0 }",
      ],
      [socket.asBufIo(), "PoolBufIo { socket: UdpSocket { local: "],
    ] as const) {
      for (const shown of printed(value).slice(1)) {
        expect(shown).toStartWith(text);
        expect(shown).not.toInclude("\n");
      }
      expect(JSON.stringify(value).length).toBeGreaterThan(2);
    }
    expect(JSON.parse(JSON.stringify(stats)).sentConnCloseTransportErrorCode).toBe(`${2n ** 60n}`);
  });

  test("a socket of the user is its class and its public fields", () => {
    class Null extends DatagramSocket {
      readonly level = 3;
      override pollSend = (): typeof Pending => Pending;
      override pollRecvFrom = (): typeof Pending => Pending;
    }
    const shown = Bun.inspect(new Null());
    expect(shown).toStartWith("Null { ");
    expect(shown).toInclude("level: 3");
    expect(shown).not.toMatch(/\n|_recv/);
  });

  test("classes keep their names if a minifier renames them", async () => {
    await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const name = Object.getOwnPropertyDescriptor(UdpSocket, "name") as PropertyDescriptor;
    Object.defineProperty(UdpSocket, "name", { ...name, value: "ae" });
    try {
      expect(Bun.inspect(socket)).toStartWith("UdpSocket { ");
      expect(socket.toJSON().type).toBe("UdpSocket");
    } finally {
      Object.defineProperty(UdpSocket, "name", name);
    }
  });
});

test("control characters of a Unix name are escaped, and parsed again", () => {
  const address = SocketAddress.abstract("fo\0o\x1b[31m\\");
  expect(`${address}`).toBe("unix:@fo\\x00o\\x1b[31m\\\\");
  const paths = ["/x", "@file", "dir/\nfile", "\\x1b"].map((path) => SocketAddress.unix(path));
  for (const one of [address, ...paths])
    expect(SocketAddress.parse(`${one}`).equals(one)).toBe(true);
  expect(() => SocketAddress.parse("unix:")).toThrow(TypeError);
});
