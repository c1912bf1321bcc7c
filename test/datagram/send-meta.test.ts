/** Send metadata: it takes effect on each datagram, and nothing is sent if it is invalid. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  type Ecn,
  SendBatch,
  type SendMeta,
  SocketAddress,
  SocketError,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { testIf } from "../ffi/tools.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { HAS_IPV6, rejection, thrown } from "../tools/sockets.ts";
import {
  openIPv4,
  openPath,
  PATHS,
  RECEIVE_METHODS,
  receiveMetas,
  receiveOne,
  sendEach,
} from "./metadata-tools.ts";

const LO = Number(readFileSync("/sys/class/net/lo/ifindex", "utf8"));
/** An interface index that does not exist. */
const NO_INTERFACE = 2 ** 31 - 1;

function ip(address: string): SocketAddress {
  return SocketAddress.ip(address, 0);
}

describe.each(PATHS)("send metadata over $name", (path) => {
  const sent: (Ecn | undefined)[] = [0, 0, 1, 1, 2, 2, 2, 3, undefined, undefined, 3, 2, 1, 0];
  /** The number of groups of adjacent equal values in `sent`: each is one GSO message. */
  const groups = 9;

  test.each(Object.entries(RECEIVE_METHODS))(
    "delivers every ECN value, received with %s",
    async (_, receive) => {
      for (const offload of [true, false]) {
        using ends = await openPath(path, offload);
        ends.receiver.enableMetadata({ ecn: true });
        await sendEach(
          ends,
          sent.map((ecn) => ({ ecn })),
        );
        const metas = await receiveMetas(ends.receiver, sent.length, receive);
        expect(metas.map(({ ecn }) => ecn)).toEqual(sent.map((ecn) => ecn ?? 0));
        const usesGso = offload && NO_OFFLOAD_REASON === undefined;
        expect(ends.sender.counters.messagesSent).toBe(usesGso ? groups : sent.length);
        expect(ends.receiver.counters.messagesReceived).toBe(usesGso ? groups : sent.length);
      }
    },
  );

  test("does not affect later datagrams without metadata", async () => {
    using ends = await openPath(path);
    ends.receiver.enableMetadata({ ecn: true });
    const batch = new SendBatch();
    const payload = new Uint8Array(9);
    batch.meta({ ecn: 3 }).push(payload, ends.to);
    await ends.sender.sendBatch(batch);
    batch.meta(undefined).push(payload, ends.to);
    await ends.sender.sendBatch(batch);
    await ends.sender.sendMany([payload], ends.to === undefined ? {} : { to: ends.to });
    const metas = await receiveMetas(ends.receiver, 3);
    expect(metas.map(({ ecn }) => ecn)).toEqual([3, 0, 0]);
  });
});

describe("a source address", () => {
  const IPV4_SOURCES = ["127.0.0.2", "127.0.0.3", "127.0.0.2"];

  test.each(PATHS.filter(({ to }) => to.includes("127.0.0.1")))(
    "is used for each datagram that has one: $name",
    async (path) => {
      // A sender that is bound to one address can also send from other local addresses.
      using ends = await openPath(path);
      const metadata: (SendMeta | undefined)[] = IPV4_SOURCES.map((source) => ({
        source: ip(source),
      }));
      const isIPv6 = ends.sender.localAddr.family === "IPv6";
      if (isIPv6) metadata.push({ source: ip("::ffff:127.0.0.4") });
      metadata.push(undefined);
      await sendEach(ends, metadata);
      const metas = await receiveMetas(ends.receiver, metadata.length);
      const { port } = ends.sender.localAddr;
      const expected = [...IPV4_SOURCES, ...(isIPv6 ? ["127.0.0.4"] : []), "127.0.0.1"];
      expect(metas.map(({ peer }) => `${peer}`.replace("[::ffff:", "").replace("]", ""))).toEqual(
        expected.map((address) => `${address}:${port}`),
      );
    },
  );

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "starts a new message only where it changes",
    async () => {
      using ends = await openIPv4();
      // Equal addresses are compared by value: each is an object of its own.
      const sources = ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.2"];
      await sendEach(
        ends,
        sources.map((source) => ({ source: ip(source) })),
      );
      const metas = await receiveMetas(ends.receiver, sources.length);
      expect(metas.map(({ peer }) => peer?.address)).toEqual(sources);
      expect(ends.sender.counters.messagesSent).toBe(3);
    },
  );

  test("of a reply can be the destination address of the request", async () => {
    using ends = await openIPv4();
    ends.receiver.enableMetadata({ destination: true });
    const { port } = ends.receiver.localAddr;
    const reply = new SendBatch();
    for (const address of ["127.0.0.1", "127.0.0.77"]) {
      const server = SocketAddress.ip(address, port);
      await ends.sender.sendTo(new Uint8Array(4), server);
      const { destination, peer } = await receiveOne(ends.receiver);
      await ends.receiver.sendBatch(
        reply.meta({ source: destination }).push(new Uint8Array(4), peer),
      );
      expect(`${(await receiveOne(ends.sender)).peer}`).toBe(`${server}`);
    }
  });

  test("of another host is refused by the kernel, and nothing is sent", async () => {
    for (const offload of [true, false]) {
      using ends = await openIPv4(offload);
      const batch = new SendBatch().meta({ source: ip("192.0.2.1") });
      for (let i = 0; i < 3; i++) batch.push(new Uint8Array(4), ends.to);
      const error = await rejection(ends.sender.sendBatch(batch));
      expect(error).toBeInstanceOf(SocketError);
      expect(error).toMatchObject({ syscall: "sendmmsg", address: ends.to?.address });
      expect(["EINVAL", "ENETUNREACH"]).toContain((error as SocketError).code);
      expect(batch.length).toBe(3);
      batch.clear();
      // The error is not mistaken for a refusal of GSO: later datagrams are sent as usual.
      await sendEach(ends, [undefined, undefined]);
      await receiveMetas(ends.receiver, 2);
      expect(ends.receiver.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
      expect(ends.sender.counters).toMatchObject({ gsoRefusals: 0, sendErrors: 1 });
    }
  });

  test.skipIf(!HAS_IPV6)(
    "of another family than the destination is a TypeError, and nothing is sent",
    async () => {
      const cases: [to: string, source: string, expected: string][] = [
        ["127.0.0.1", "::1", "IPv4"],
        ["::ffff:127.0.0.1", "::1", "IPv4"],
        ["::1", "127.0.0.1", "IPv6"],
      ];
      for (const [to, source, expected] of cases) {
        using ends = await openPath({ receiver: "::", sender: "::", to, isConnected: false });
        const batch = new SendBatch();
        batch.push(new Uint8Array(1), ends.to).meta({ source: ip(source) });
        batch.push(new Uint8Array(1), ends.to);
        const error = await rejection(ends.sender.sendBatch(batch));
        expect(error).toBeInstanceOf(TypeError);
        expect((error as Error).message).toStartWith(`"source" expected ${expected} address, got`);
        expect(batch.length).toBe(2);
        await ends.sender.sendTo(new Uint8Array(7), ends.to as SocketAddress);
        expect((await receiveOne(ends.receiver)).length).toBe(7);
      }
    },
  );
});

describe("an interface index", () => {
  test.each(PATHS)("is accepted, alone and with other metadata: $name", async (path) => {
    using ends = await openPath(path);
    ends.receiver.enableMetadata({ destination: true });
    await sendEach(ends, [{ interfaceIndex: LO }, { interfaceIndex: LO, ecn: 1 }, undefined]);
    for (const meta of await receiveMetas(ends.receiver, 3)) expect(meta.interfaceIndex).toBe(LO);
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "starts a new message only where it changes",
    async () => {
      using ends = await openIPv4();
      const indices = [LO, LO, undefined, undefined, LO];
      await sendEach(
        ends,
        indices.map((interfaceIndex) => ({ interfaceIndex })),
      );
      await receiveMetas(ends.receiver, indices.length);
      expect(ends.sender.counters.messagesSent).toBe(3);
    },
  );

  test("that does not exist is refused by the kernel, and nothing is sent", async () => {
    using ends = await openIPv4();
    const error = await rejection(sendEach(ends, [{ interfaceIndex: NO_INTERFACE }]));
    expect(error).toBeInstanceOf(SocketError);
    expect(["ENODEV", "ENETUNREACH"]).toContain((error as SocketError).code);
    await ends.sender.sendTo(new Uint8Array(7), ends.to as SocketAddress);
    expect((await receiveOne(ends.receiver)).length).toBe(7);
  });
});

/** Returns why transmit times of the TAI clock cannot be tested; `undefined` if they can. */
async function taiMissing(): Promise<string | undefined> {
  using socket = await UdpSocket.bind({ backend: "native" });
  try {
    socket.setTransmitTimes("tai");
  } catch (error) {
    if ((error as SocketError).code !== "EPERM") throw error;
    return "transmit times of the TAI clock need CAP_NET_ADMIN";
  }
  return undefined;
}

/** Checks that loopback, which has no qdisc, ignores transmit times of `clock`. */
async function expectNoDelay(clock: "monotonic" | "tai"): Promise<void> {
  using ends = await openIPv4();
  ends.sender.setTransmitTimes(clock);
  const now = ends.sender.transmitClockNs;
  const hour = 3_600_000_000_000n;
  const times = [now / 2n, now, now + hour, 0n, 2n ** 63n - 1n];
  await sendEach(
    ends,
    times.map((transmitTimeNs) => ({ transmitTimeNs })),
  );
  expect((await receiveMetas(ends.receiver, times.length)).length).toBe(times.length);
  // The times differ, so no two datagrams share a message.
  expect(ends.sender.counters.messagesSent).toBe(times.length);
}

const taiReason = await taiMissing();

describe("transmit times", () => {
  const testTai = testIf(taiReason);

  test("of the monotonic clock do not delay datagrams on a device without an fq or etf qdisc", () =>
    expectNoDelay("monotonic"));
  testTai("of the TAI clock do not delay datagrams on a device without an fq or etf qdisc", () =>
    expectNoDelay("tai"),
  );

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "do not keep datagrams from sharing a message if they are equal",
    async () => {
      using ends = await openIPv4();
      ends.sender.setTransmitTimes("monotonic");
      const at = ends.sender.transmitClockNs;
      await sendEach(
        ends,
        [at, at, at + 1n].map((transmitTimeNs) => ({ transmitTimeNs })),
      );
      await receiveMetas(ends.receiver, 3);
      expect(ends.sender.counters.messagesSent).toBe(2);
    },
  );

  test("are refused by the kernel if no clock was selected", async () => {
    using ends = await openIPv4();
    const error = await rejection(sendEach(ends, [{ transmitTimeNs: 1n }]));
    expect(error).toMatchObject({ code: "EINVAL", syscall: "sendmmsg" });
    await ends.sender.sendTo(new Uint8Array(7), ends.to as SocketAddress);
    expect((await receiveOne(ends.receiver)).length).toBe(7);
  });

  test("use the monotonic clock of the system by default", async () => {
    using socket = await UdpSocket.bind();
    const read = () => Number(socket.transmitClockNs);
    const upSeconds = Number(readFileSync("/proc/uptime", "utf8").split(" ", 1)[0]);
    const first = read();
    // /proc/uptime, in hundredths of a second, includes suspends; CLOCK_MONOTONIC does not.
    expect(Math.abs(first / 1e9 - upSeconds)).toBeLessThan(60);
    expect(read()).toBeGreaterThanOrEqual(first);
  });

  testTai("use the TAI clock of the system if it is selected", async () => {
    using socket = await UdpSocket.bind();
    socket.setTransmitTimes("tai");
    // TAI is ahead of UTC by the leap seconds (37 s since 2017), if the kernel knows them.
    expect(Math.abs(Number(socket.transmitClockNs) / 1e6 - Date.now())).toBeLessThan(60_000);
  });

  test("of an unknown clock are refused with a TypeError", async () => {
    using socket = await UdpSocket.bind();
    for (const clock of ["realtime", "", undefined, 1, "toString"]) {
      const error = thrown(() => socket.setTransmitTimes(clock as "tai"));
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toStartWith('"clock" expected "monotonic" or "tai", got');
    }
    socket.close();
    expect(thrown(() => socket.setTransmitTimes("tai"))).toMatchObject({
      code: "ERR_SOCKET_CLOSED",
    });
    expect(thrown(() => socket.transmitClockNs)).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });
});

describe("invalid send metadata", () => {
  const range = "expected integer";
  const bad: [error: string, metadata: unknown][] = [
    [`RangeError: "ecn" ${range} 0..3, got 4`, { ecn: 4 }],
    [`RangeError: "ecn" ${range} 0..3, got -1`, { ecn: -1 }],
    [`RangeError: "ecn" ${range} 0..3, got 1.5`, { ecn: 1.5 }],
    [`TypeError: "ecn" ${range} 0..3, got "1"`, { ecn: "1" }],
    [`TypeError: "ecn" ${range} 0..3, got null`, { ecn: null }],
    [
      'TypeError: "source" expected IP address, got "unix:/run/x"',
      { source: SocketAddress.unix("/run/x") },
    ],
    [
      'TypeError: "source" expected SocketAddress, got "127.0.0.1" (create one with ' +
        "SocketAddress.ip, parse, unix or abstract; connect resolves host names)",
      { source: "127.0.0.1" },
    ],
    [`RangeError: "interfaceIndex" ${range} 0..2147483647, got -1`, { interfaceIndex: -1 }],
    [
      `RangeError: "interfaceIndex" ${range} 0..2147483647, got 2147483648`,
      { interfaceIndex: 2 ** 31 },
    ],
    [
      'TypeError: "interfaceIndex" expected name, index or address of an interface, got "nothing0"',
      { interfaceIndex: "nothing0" },
    ],
    ['TypeError: "transmitTimeNs" expected bigint, got 1', { transmitTimeNs: 1 }],
    ['RangeError: "transmitTimeNs" expected 0n..2n ** 63n - 1n, got -1n', { transmitTimeNs: -1n }],
    [
      'RangeError: "transmitTimeNs" expected 0n..2n ** 63n - 1n, got 9223372036854775808n',
      { transmitTimeNs: 2n ** 63n },
    ],
    ['TypeError: "meta" expected object, got 5', 5],
    ['TypeError: "meta" expected object, got null', null],
  ];

  test.each(bad)(
    "is refused and does not affect the datagrams in the batch: %s",
    async (message, wrong) => {
      using ends = await openIPv4();
      ends.receiver.enableMetadata({ ecn: true });
      const batch = new SendBatch().meta({ ecn: 1 }).push(new Uint8Array(1), ends.to);
      expect(`${thrown(() => batch.meta(wrong as SendMeta))}`).toBe(message);
      expect(batch.length).toBe(1);
      await ends.sender.sendBatch(batch.push(new Uint8Array(1), ends.to));
      const metas = await receiveMetas(ends.receiver, 2);
      expect(metas.map(({ ecn }) => ecn)).toEqual([1, 1]);
      expect(ends.receiver.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
    },
  );

  test("includes all metadata on a Unix socket", async () => {
    const [left, right] = await UnixDatagram.pair();
    const batch = new SendBatch().push(new Uint8Array(1)).meta({ ecn: 1 });
    batch.push(new Uint8Array(2));
    const error = await rejection(left.sendBatch(batch));
    expect(error).toMatchObject({ code: "ERR_NOT_SUPPORTED", syscall: "sendBatch" });
    expect((error as Error).message).toContain("Unix datagrams have none");
    expect(batch.length).toBe(2);
    expect(right.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
    left.close();
    right.close();
  });
});

describe("the portable backend", () => {
  test("refuses a batch with any metadata as a whole, and sends one without", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    const to = receiver.localAddr;
    const batch = new SendBatch().push(new Uint8Array(1), to).meta({ ecn: 1 });
    batch.push(new Uint8Array(2), to);
    const error = await rejection(sender.sendBatch(batch));
    expect(error).toMatchObject({ code: "ERR_NOT_SUPPORTED", syscall: "sendBatch" });
    expect((error as Error).message).toContain("requires the native backend");
    expect(batch.length).toBe(2);
    batch.clear();
    await sender.sendBatch(batch.push(new Uint8Array(3), to));
    expect(await receiver.recv(new Uint8Array(9))).toBe(3);
    expect(receiver.tryRecv(new Uint8Array(9))).toBe(WouldBlock);
  });

  test("does not support transmit times", async () => {
    using socket = await UdpSocket.bind({ backend: "portable" });
    const unsupported = { code: "ERR_NOT_SUPPORTED" };
    expect(thrown(() => socket.setTransmitTimes("monotonic"))).toMatchObject(unsupported);
    expect(thrown(() => socket.transmitClockNs)).toMatchObject(unsupported);
  });
});
