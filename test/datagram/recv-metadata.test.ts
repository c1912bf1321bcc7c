/** What is told of received datagrams: as it was asked for, of the right datagram, and no more. */

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
  receiveInfo,
  receiveOne,
  sendEach,
  WAYS,
} from "./metadata-tools.ts";

const LO = Number(readFileSync("/sys/class/net/lo/ifindex", "utf8"));
const GROUP = "239.255.77.9";

type Kinds = Record<keyof MetadataOptions, boolean>;

/** Which kinds are on, as told. */
function kindsOf(capabilities: Capabilities): Kinds {
  const { gso: _, gro: __, ...kinds } = capabilities;
  return kinds;
}

/** The kinds that this machine grants. */
async function grantedKinds(): Promise<Kinds> {
  using socket = await UdpSocket.bind();
  return kindsOf(socket.enableMetadata());
}

const GRANTED = await grantedKinds();
for (const kind of METADATA_KINDS) {
  if (!GRANTED[kind]) console.warn(`"${kind}" of datagrams is not tested: it is not granted here`);
}

const ALL_OFF = Object.fromEntries(METADATA_KINDS.map((kind) => [kind, false])) as Kinds;

/** The fields of each kind, and what they hold when nothing was told. */
const FIELDS: Record<keyof MetadataOptions, Partial<RecvMeta>> = {
  destination: { destination: undefined, interfaceIndex: 0 },
  originalDestination: { originalDestination: undefined },
  ecn: { ecn: undefined },
  timestamp: { timestampSeconds: 0, timestampNanoseconds: 0 },
  mark: { mark: undefined },
  socketDrops: { socketDrops: undefined },
};

/** The kinds of which `meta` tells something. */
function told(meta: RecvMeta): string[] {
  return METADATA_KINDS.filter((kind) =>
    Object.entries(FIELDS[kind]).some(
      ([field, nothing]) => meta[field as keyof RecvMeta] !== nothing,
    ),
  );
}

describe("the answer to enableMetadata", () => {
  test("says of each kind whether it is granted, and of the offloads whether they work", async () => {
    for (const offload of [true, false]) {
      using socket = await UdpSocket.bind({ offload });
      const isWorking = offload && NO_OFFLOAD_REASON === undefined;
      const capabilities = socket.enableMetadata();
      expect(capabilities).toEqual({
        // All but the mark need no rights.
        destination: true,
        originalDestination: true,
        ecn: true,
        timestamp: true,
        mark: GRANTED.mark,
        socketDrops: true,
        gso: isWorking,
        gro: isWorking,
      });
    }
  });

  test.each(["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])])(
    "switches each kind on and off for itself, on a socket bound to %s",
    async (hostname) => {
      for (const kind of METADATA_KINDS.filter((kind) => GRANTED[kind])) {
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
        // A socket that lost nothing is told nothing of losses.
        expect(told(await receiveOne(receiver))).toEqual(kind === "socketDrops" ? [] : [kind]);
        expect(kindsOf(receiver.enableMetadata({ [kind]: false }))).toEqual(ALL_OFF);
        await sendEach(ends, [{ ecn: 2 }]);
        expect(told(await receiveOne(receiver))).toEqual([]);
      }
    },
  );

  test("leaves kinds that are not named as they are, and says so", async () => {
    using ends = await openIPv4();
    const { receiver } = ends;
    receiver.enableMetadata({ ecn: true });
    const both = { ...ALL_OFF, ecn: true, destination: true };
    expect(kindsOf(receiver.enableMetadata({ destination: true }))).toEqual(both);
    expect(kindsOf(receiver.enableMetadata({}))).toEqual(both);
    expect(kindsOf(receiver.enableMetadata({ ecn: undefined }))).toEqual(both);
    await sendEach(ends, [undefined]);
    expect(told(await receiveOne(receiver))).toEqual(["destination", "ecn"]);
  });

  test("is all false on the portable backend, which tells of peers alone", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    expect(receiver.enableMetadata()).toEqual({
      ...ALL_OFF,
      gso: false,
      gro: false,
    });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await sender.sendTo(new Uint8Array(3), receiver.localAddr);
    const meta = await receiveOne(receiver);
    expect([meta.length, told(meta)]).toEqual([3, []]);
    expect(meta.peer?.equals(sender.localAddr)).toBe(true);
    expect(meta.timestampNs).toBeUndefined();
  });

  test.each(["native", "portable"] as const)(
    "is an error for what is no kind, no boolean, or closed: %s",
    async (backend) => {
      using socket = await UdpSocket.bind({ backend });
      const cases: [wanted: unknown, message: string][] = [
        [
          { ECN: true },
          `TypeError: "options" expected only ${METADATA_KINDS.join(", ")}, got "ECN"`,
        ],
        [{ ecn: 1 }, 'TypeError: "options.ecn" expected boolean, got 1'],
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

describe("the destination", () => {
  test.each(PATHS)("is where it was sent, with the port and the interface: $name", async (path) => {
    for (const receive of Object.values(WAYS)) {
      using ends = await openPath(path);
      ends.receiver.enableMetadata({ destination: true, originalDestination: true });
      await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
      const address = path.to.replace("::ffff:", "");
      const expected = `${SocketAddress.ip(address, ends.receiver.localAddr.port)}`;
      for (const meta of await receiveInfo(ends.receiver, 3, receive)) {
        expect(`${meta.destination}`).toBe(expected);
        expect(`${meta.originalDestination}`).toBe(expected);
        expect(meta.interfaceIndex).toBe(LO);
      }
    }
  });

  test("tells the addresses of one wildcard socket apart, a group among them", async () => {
    for (const hostname of ["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])]) {
      using receiver = await UdpSocket.bind({ hostname });
      using sender = await UdpSocket.bind({ hostname });
      receiver.enableMetadata({ destination: true });
      const { port } = receiver.localAddr;
      const addresses = ["127.0.0.1", "127.0.0.2", "127.255.255.254"];
      if (hostname === "::") addresses.push("::1");
      else {
        receiver.addMembership({ group: GROUP, interfaceAddress: "127.0.0.1" });
        sender.setMulticastInterface("127.0.0.1");
        addresses.push(GROUP);
      }
      const to = addresses.map((address) => SocketAddress.ip(address, port));
      await sender.sendMany(
        to.map(() => new Uint8Array(1)),
        { to },
      );
      const metas = await receiveInfo(receiver, to.length);
      expect(metas.map(({ destination }) => `${destination}`)).toEqual(to.map(String));
      expect(metas.map(({ interfaceIndex }) => interfaceIndex)).toEqual(to.map(() => LO));
    }
  });
});

describe("the timestamp", () => {
  test.each(Object.entries(WAYS))(
    "lies between the clock before and after, and does not run back, as %s tells",
    async (_, receive) => {
      for (const offload of [true, false]) {
        using ends = await openIPv4(offload);
        ends.receiver.enableMetadata({ timestamp: true });
        const before = BigInt(Date.now()) * 1_000_000n;
        const times: bigint[] = [];
        for (let round = 0; round < 20; round++) {
          await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
          for (const meta of await receiveInfo(ends.receiver, 3, receive)) {
            times.push(meta.timestampNs as bigint);
          }
        }
        const after = BigInt(Date.now() + 1) * 1_000_000n;
        expect(times.length).toBe(60);
        for (const [i, time] of times.entries()) {
          expect(time).toBeGreaterThanOrEqual(times[i - 1] ?? before);
          expect(time).toBeLessThanOrEqual(after);
        }
        // In nanoseconds, not in the milliseconds of the clock it is compared with.
        expect(times.some((time) => time % 1_000_000n !== 0n)).toBe(true);
        expect(new Set(times).size).toBeGreaterThan(20);
      }
    },
  );
});

describe("the drop counter", () => {
  test("says how many are missing of what overfilled the buffer", async () => {
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
      // What fitted came before the first loss of this round.
      expect(meta[0]?.socketDrops ?? 0).toBe(sent - 200 - (received - got));
      // Whoever comes next into the emptied buffer knows of all that was lost.
      sent += await sender.sendTo(new Uint8Array(1), to);
      const last = await receiveOne(receiver);
      received++;
      expect([last.length, last.socketDrops]).toEqual([1, sent - received]);
    }
    expect(receiver.counters.datagramsDropped).toBe(0);
    // An meta that told of losses tells of none where nothing is told.
    const meta = [new RecvMeta()];
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { meta });
    expect(meta[0]?.socketDrops).toBe(sent + 1 - (received + 1));
    receiver.enableMetadata({ socketDrops: false });
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { meta });
    expect(meta[0]?.socketDrops).toBeUndefined();
  });

  test("is absent while nothing was lost", async () => {
    using ends = await openIPv4();
    ends.receiver.enableMetadata({ socketDrops: true });
    await sendEach(ends, [undefined]);
    expect((await receiveOne(ends.receiver)).socketDrops).toBeUndefined();
  });
});

describe("what is left over", () => {
  test("of earlier datagrams is wiped when an meta is used on a socket that tells nothing", async () => {
    using telling = await openIPv4();
    using silent = await openIPv4();
    telling.receiver.enableMetadata();
    const bufs = [new Uint8Array(9)];
    const meta = [new RecvMeta()];
    await sendEach(telling, [{ ecn: 3 }]);
    await telling.receiver.recvMany(bufs, { meta });
    const [entry] = meta as [RecvMeta];
    expect(told(entry)).toEqual(
      METADATA_KINDS.filter((kind) => GRANTED[kind] && kind !== "socketDrops"),
    );
    await sendEach(silent, [{ ecn: 3 }]);
    await silent.receiver.recvMany(bufs, { meta });
    expect(told(entry)).toEqual([]);
    expect(entry.timestampNs).toBeUndefined();
    expect(entry.peer?.port).toBe(silent.sender.localAddr.port);
  });

  test("of earlier datagrams is wiped when a batch is used on another kind of socket", async () => {
    using telling = await openIPv4();
    using silent = await openIPv4();
    using portable = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    const [left, right] = await UnixDatagram.pair();
    telling.receiver.enableMetadata();
    const batch = new RecvBatch();
    const meta = new RecvMeta();
    const receivers: [UdpSocket | UnixDatagram, () => Promise<number>][] = [
      [silent.receiver, () => sendEach(silent, [{ ecn: 1 }])],
      [portable, () => silent.sender.sendTo(new Uint8Array(1), portable.localAddr)],
      [right, () => left.send(new Uint8Array(1))],
    ];
    for (const [receiver, send] of receivers) {
      await sendEach(telling, [{ ecn: 3 }]);
      await telling.receiver.recvBatch(batch);
      expect(batch.metaAt(0, meta).ecn).toBe(3);
      await send();
      await receiver.recvBatch(batch);
      expect(told(batch.metaAt(0, meta))).toEqual([]);
      expect(meta.length).toBe(1);
    }
    left.close();
    right.close();
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "of a message that recvMany took in part goes to a batch with all that was told of it",
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
        expect(told(meta)).toEqual(["destination", "ecn", "timestamp"]);
        expect(meta.peer?.port).toBe(ends.sender.localAddr.port);
      }
      expect(metas[0]?.timestampNs).toBe(first[0]?.timestampNs as bigint);
    },
  );
});
