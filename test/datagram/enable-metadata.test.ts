/** `enableMetadata`: exactly the enabled kinds are reported, each with its own datagram. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { METADATA_KINDS } from "../../lib/datagram/metadata-options.ts";
import {
  type Capabilities,
  type MetadataOptions,
  RecvBatch,
  RecvMeta,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { HAS_IPV6, thrown } from "../tools/sockets.ts";
import {
  openIPv4,
  openPath,
  PATHS,
  type PathEnds,
  RECEIVE_METHODS,
  receiveMetas,
  receiveOne,
  sendEach,
} from "./metadata-tools.ts";

const LO = Number(readFileSync("/sys/class/net/lo/ifindex", "utf8"));
const GROUP = "239.255.77.9";

type Kinds = Record<keyof MetadataOptions, boolean>;

/** Returns the metadata kinds of `capabilities`, without the offloads. */
function kindsOf(capabilities: Capabilities): Kinds {
  const { gso: _, gro: __, ...kinds } = capabilities;
  return kinds;
}

/** Returns which kinds this machine supports. */
async function supportedKinds(): Promise<Kinds> {
  using socket = await UdpSocket.bind();
  return kindsOf(socket.enableMetadata());
}

const SUPPORTED = await supportedKinds();
for (const kind of METADATA_KINDS) {
  if (!SUPPORTED[kind])
    console.warn(`tests of "${kind}" metadata are skipped: it is not supported here`);
}

const ALL_OFF = Object.fromEntries(METADATA_KINDS.map((kind) => [kind, false])) as Kinds;

/** The fields of each kind, and their values if there is no such metadata. */
const FIELDS: Record<keyof MetadataOptions, Partial<RecvMeta>> = {
  destination: { destination: undefined, replySource: undefined, interfaceIndex: 0 },
  originalDestination: { originalDestination: undefined },
  ecn: { ecn: undefined, dscp: undefined },
  hopLimit: { hopLimit: undefined },
  timestamp: { timestampSeconds: 0, timestampNanoseconds: 0 },
  mark: { mark: undefined },
  socketDrops: { socketDrops: undefined },
};

/** Returns the kinds that are present in `meta`. */
function presentKinds(meta: RecvMeta): string[] {
  return METADATA_KINDS.filter((kind) =>
    Object.entries(FIELDS[kind]).some(
      ([field, absent]) => meta[field as keyof RecvMeta] !== absent,
    ),
  );
}

describe("enableMetadata", () => {
  test("returns whether each kind is enabled, and whether the offloads are used", async () => {
    for (const offload of [true, false]) {
      using socket = await UdpSocket.bind({ offload });
      const isWorking = offload && NO_OFFLOAD_REASON === undefined;
      const capabilities = socket.enableMetadata();
      expect(capabilities).toEqual({
        // All kinds except the mark work without privileges.
        destination: true,
        originalDestination: true,
        ecn: true,
        hopLimit: true,
        timestamp: true,
        mark: SUPPORTED.mark,
        socketDrops: true,
        gso: isWorking,
        gro: isWorking,
      });
    }
  });

  test.each(["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])])(
    "enables and disables each kind independently on a socket bound to %s",
    async (hostname) => {
      for (const kind of METADATA_KINDS.filter((kind) => SUPPORTED[kind])) {
        const to = hostname === "::" ? "::1" : "127.0.0.1";
        using ends = await openPath({
          receiver: hostname,
          sender: hostname,
          to,
          isConnected: false,
        });
        const { receiver } = ends;
        expect(kindsOf(receiver.enableMetadata({ [kind]: true }))).toEqual({
          ...ALL_OFF,
          [kind]: true,
        });
        await sendEach(ends, [{ ecn: 2 }]);
        // The kernel attaches the drop counter only once it is not 0.
        expect(presentKinds(await receiveOne(receiver))).toEqual(
          kind === "socketDrops" ? [] : [kind],
        );
        expect(kindsOf(receiver.enableMetadata({ [kind]: false }))).toEqual(ALL_OFF);
        await sendEach(ends, [{ ecn: 2 }]);
        expect(presentKinds(await receiveOne(receiver))).toEqual([]);
      }
    },
  );

  test("does not change kinds that are not named, and returns their state", async () => {
    using ends = await openIPv4();
    const { receiver } = ends;
    receiver.enableMetadata({ ecn: true });
    const both = { ...ALL_OFF, ecn: true, destination: true };
    expect(kindsOf(receiver.enableMetadata({ destination: true }))).toEqual(both);
    expect(kindsOf(receiver.enableMetadata({}))).toEqual(both);
    expect(kindsOf(receiver.enableMetadata({ ecn: undefined }))).toEqual(both);
    await sendEach(ends, [undefined]);
    expect(presentKinds(await receiveOne(receiver))).toEqual(["destination", "ecn"]);
  });

  test("returns false for all on the portable backend, which only reports the peer", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    expect(receiver.enableMetadata()).toEqual({
      ...ALL_OFF,
      gso: false,
      gro: false,
    });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await sender.sendTo(new Uint8Array(3), receiver.localAddr);
    const meta = await receiveOne(receiver);
    expect([meta.length, presentKinds(meta)]).toEqual([3, []]);
    expect(meta.peer?.equals(sender.localAddr)).toBe(true);
    expect(meta.timestampNs).toBeUndefined();
  });

  test.each(["native", "portable"] as const)(
    "refuses unknown kinds, values that are not boolean, and closed sockets: %s backend",
    async (backend) => {
      using socket = await UdpSocket.bind({ backend });
      const cases: [wanted: unknown, message: string][] = [
        [
          { ECN: true },
          'TypeError: "options" got unknown option "ECN" (did you mean "ecn"?), ' +
            `expected only ${METADATA_KINDS.join(", ")}`,
        ],
        [{ ecn: 1 }, 'TypeError: "ecn" expected boolean, got 1'],
        [null, 'TypeError: "options" expected object, got null'],
        ["ecn", 'TypeError: "options" expected object, got "ecn"'],
      ];
      for (const [wanted, message] of cases) {
        const error = thrown(() => socket.enableMetadata(wanted as MetadataOptions));
        expect(`${error}`).toBe(message);
      }
      socket.close();
      const error = thrown(() => socket.enableMetadata());
      expect(error).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    },
  );
});

describe("destination metadata", () => {
  test.each(PATHS)(
    "is the address sent to, with the port and the interface: $name",
    async (path) => {
      for (const receive of Object.values(RECEIVE_METHODS)) {
        using ends = await openPath(path);
        ends.receiver.enableMetadata({ destination: true, originalDestination: true });
        await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
        const address = path.to.replace("::ffff:", "");
        const expected = `${SocketAddress.ip(address, ends.receiver.localAddr.port)}`;
        for (const meta of await receiveMetas(ends.receiver, 3, receive)) {
          expect(`${meta.destination}`).toBe(expected);
          expect(`${meta.originalDestination}`).toBe(expected);
          expect(meta.interfaceIndex).toBe(LO);
        }
      }
    },
  );

  test("distinguishes local addresses and a multicast group on a wildcard socket", async () => {
    for (const hostname of ["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])]) {
      using receiver = await UdpSocket.bind({ hostname });
      using sender = await UdpSocket.bind({ hostname });
      receiver.enableMetadata({ destination: true });
      const { port } = receiver.localAddr;
      const addresses = ["127.0.0.1", "127.0.0.2", "127.255.255.254"];
      if (hostname === "::") addresses.push("::1");
      else {
        receiver.addMembership({ group: GROUP, interface: "127.0.0.1" });
        sender.setMulticastInterface("127.0.0.1");
        addresses.push(GROUP);
      }
      const to = addresses.map((address) => SocketAddress.ip(address, port));
      await sender.sendMany(
        to.map(() => new Uint8Array(1)),
        { to },
      );
      const metas = await receiveMetas(receiver, to.length);
      expect(metas.map(({ destination }) => `${destination}`)).toEqual(to.map(String));
      expect(metas.map(({ interfaceIndex }) => interfaceIndex)).toEqual(to.map(() => LO));
    }
  });
});

/**
 * Waits until the kernel sets timestamps when datagrams arrive. It enables them some time after the
 * first socket requests them; until then, a datagram gets the time of the receive call.
 */
async function untilStamped(ends: PathEnds): Promise<void> {
  for (;;) {
    await sendEach(ends, [undefined]);
    const sentNs = BigInt(Date.now() + 1) * 1_000_000n;
    // The time of the receive call differs from that of the arrival.
    await Bun.sleep(2);
    if (((await receiveOne(ends.receiver)).timestampNs as bigint) <= sentNs) return;
  }
}

describe("timestamp metadata", () => {
  test.each(Object.entries(RECEIVE_METHODS))(
    "is between the system times before and after, and does not decrease: %s",
    async (_, receive) => {
      for (const offload of [true, false]) {
        using ends = await openIPv4(offload);
        ends.receiver.enableMetadata({ timestamp: true });
        await untilStamped(ends);
        const before = BigInt(Date.now()) * 1_000_000n;
        const times: bigint[] = [];
        for (let round = 0; round < 20; round++) {
          await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
          for (const meta of await receiveMetas(ends.receiver, 3, receive)) {
            times.push(meta.timestampNs as bigint);
          }
        }
        const after = BigInt(Date.now() + 1) * 1_000_000n;
        expect(times.length).toBe(60);
        for (const [i, time] of times.entries()) {
          expect(time).toBeGreaterThanOrEqual(times[i - 1] ?? before);
          expect(time).toBeLessThanOrEqual(after);
        }
        // The resolution is finer than the milliseconds of Date.now().
        expect(times.some((time) => time % 1_000_000n !== 0n)).toBe(true);
        expect(new Set(times).size).toBeGreaterThan(20);
      }
    },
  );
});

describe("socketDrops metadata", () => {
  test("is the number of datagrams dropped because the receive buffer was full", async () => {
    using receiver = await UdpSocket.bind({
      hostname: "127.0.0.1",
      receiveBufferBytes: 8192,
      offload: false,
    });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", offload: false });
    expect(receiver.enableMetadata({ socketDrops: true }).socketDrops).toBe(true);
    const to = receiver.localAddr;
    let sent = 0;
    let received = 0;
    for (let round = 0; round < 3; round++) {
      sent += await sender.sendMany(
        Array.from({ length: 200 }, () => new Uint8Array(100)),
        { to },
      );
      const bufs = Array.from({ length: 256 }, () => new Uint8Array(100));
      const meta = bufs.map(() => new RecvMeta());
      const got = await receiver.recvMany(bufs, { meta });
      received += got;
      expect(got).toBeLessThan(200);
      // The first datagram was queued before the first drop of this round.
      expect(meta[0]?.socketDrops ?? 0).toBe(sent - 200 - (received - got));
      // The next datagram, queued after the buffer was emptied, reports all drops.
      sent += await sender.sendTo(new Uint8Array(1), to);
      const last = await receiveOne(receiver);
      received++;
      expect([last.length, last.socketDrops]).toEqual([1, sent - received]);
    }
    expect(receiver.counters.datagramsDropped).toBe(0);
    // An object that reported drops is reset by a receive after the kind is disabled.
    const meta = [new RecvMeta()];
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { meta });
    expect(meta[0]?.socketDrops).toBe(sent + 1 - (received + 1));
    receiver.enableMetadata({ socketDrops: false });
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { meta });
    expect(meta[0]?.socketDrops).toBeUndefined();
  });

  test("is absent while no datagram was dropped", async () => {
    using ends = await openIPv4();
    ends.receiver.enableMetadata({ socketDrops: true });
    await sendEach(ends, [undefined]);
    expect((await receiveOne(ends.receiver)).socketDrops).toBeUndefined();
  });
});

describe("metadata across receives", () => {
  test("is reset when a RecvMeta is reused on a socket without metadata", async () => {
    using enabled = await openIPv4();
    using disabled = await openIPv4();
    enabled.receiver.enableMetadata();
    const bufs = [new Uint8Array(9)];
    const meta = [new RecvMeta()];
    await sendEach(enabled, [{ ecn: 3 }]);
    await enabled.receiver.recvMany(bufs, { meta });
    const [entry] = meta as [RecvMeta];
    expect(presentKinds(entry)).toEqual(
      METADATA_KINDS.filter((kind) => SUPPORTED[kind] && kind !== "socketDrops"),
    );
    await sendEach(disabled, [{ ecn: 3 }]);
    await disabled.receiver.recvMany(bufs, { meta });
    expect(presentKinds(entry)).toEqual([]);
    expect(entry.timestampNs).toBeUndefined();
    expect(entry.peer?.port).toBe(disabled.sender.localAddr.port);
  });

  test("is reset when a RecvBatch is reused on a socket without metadata", async () => {
    using enabled = await openIPv4();
    using disabled = await openIPv4();
    using portable = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    const [left, right] = await UnixDatagram.pair();
    enabled.receiver.enableMetadata();
    const batch = new RecvBatch();
    const meta = new RecvMeta();
    const receivers: [UdpSocket | UnixDatagram, () => Promise<number>][] = [
      [disabled.receiver, () => sendEach(disabled, [{ ecn: 1 }])],
      [portable, () => disabled.sender.sendTo(new Uint8Array(1), portable.localAddr)],
      [right, () => left.send(new Uint8Array(1))],
    ];
    for (const [receiver, send] of receivers) {
      await sendEach(enabled, [{ ecn: 3 }]);
      await enabled.receiver.recvBatch(batch);
      expect(batch.metaAt(0, meta).ecn).toBe(3);
      await send();
      await receiver.recvBatch(batch);
      expect(presentKinds(batch.metaAt(0, meta))).toEqual([]);
      expect(meta.length).toBe(1);
    }
    left.close();
    right.close();
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "is kept for the datagrams of a GRO message that recvMany leaves to recvBatch",
    async () => {
      using ends = await openIPv4();
      ends.receiver.enableMetadata({ ecn: true, destination: true, timestamp: true });
      await sendEach(ends, [{ ecn: 3 }, { ecn: 3 }, { ecn: 3 }, { ecn: 1 }, { ecn: 1 }]);
      const first = [new RecvMeta()];
      await ends.receiver.recvMany([new Uint8Array(9)], { meta: first });
      const batch = new RecvBatch();
      const metas: RecvMeta[] = [];
      while (metas.length < 4) {
        const got = await ends.receiver.recvBatch(batch);
        for (let i = 0; i < got; i++) metas.push(batch.metaAt(i));
      }
      expect(metas.map(({ ecn }) => ecn)).toEqual([3, 3, 1, 1]);
      for (const meta of metas) {
        expect(presentKinds(meta)).toEqual(["destination", "ecn", "timestamp"]);
        expect(meta.peer?.port).toBe(ends.sender.localAddr.port);
      }
      expect(metas[0]?.timestampNs).toBe(first[0]?.timestampNs as bigint);
    },
  );
});
