/** What is told of received datagrams: as it was asked for, of the right datagram, and no more. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { RECEIVE_METADATA } from "../../lib/datagram/metadata.ts";
import {
  type Capabilities,
  DatagramInfo,
  type ReceiveMetadata,
  RecvBatch,
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

type Kinds = Record<keyof ReceiveMetadata, boolean>;

/** Which kinds are on, as told. */
function kindsOf(capabilities: Capabilities): Kinds {
  const { segmentation: _, coalescing: __, ...kinds } = capabilities;
  return kinds;
}

/** The kinds that this machine grants. */
async function grantedKinds(): Promise<Kinds> {
  using socket = await UdpSocket.bind();
  return kindsOf(socket.receiveMetadata());
}

const GRANTED = await grantedKinds();
for (const kind of RECEIVE_METADATA) {
  if (!GRANTED[kind]) console.warn(`"${kind}" of datagrams is not tested: it is not granted here`);
}

const ALL_OFF = Object.fromEntries(RECEIVE_METADATA.map((kind) => [kind, false])) as Kinds;

/** The fields of each kind, and what they hold when nothing was told. */
const FIELDS: Record<keyof ReceiveMetadata, Partial<DatagramInfo>> = {
  destination: { destination: undefined, interfaceIndex: 0 },
  originalDestination: { originalDestination: undefined },
  ecn: { ecn: undefined },
  timestamp: { timestampSeconds: 0, timestampNanoseconds: 0 },
  mark: { mark: undefined },
  socketDrops: { socketDrops: undefined },
};

/** The kinds of which `info` tells something. */
function told(info: DatagramInfo): string[] {
  return RECEIVE_METADATA.filter((kind) =>
    Object.entries(FIELDS[kind]).some(
      ([field, nothing]) => info[field as keyof DatagramInfo] !== nothing,
    ),
  );
}

describe("the answer to receiveMetadata", () => {
  test("says of each kind whether it is granted, and of the offloads whether they work", async () => {
    for (const offload of [true, false]) {
      using socket = await UdpSocket.bind({ offload });
      const isWorking = offload && NO_OFFLOAD_REASON === undefined;
      const capabilities = socket.receiveMetadata();
      expect(capabilities).toEqual({
        // All but the mark need no rights.
        destination: true,
        originalDestination: true,
        ecn: true,
        timestamp: true,
        mark: GRANTED.mark,
        socketDrops: true,
        segmentation: isWorking,
        coalescing: isWorking,
      });
    }
  });

  test.each(["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])])(
    "switches each kind on and off for itself, on a socket bound to %s",
    async (hostname) => {
      for (const kind of RECEIVE_METADATA.filter((kind) => GRANTED[kind])) {
        const to = hostname === "::" ? "::1" : "127.0.0.1";
        using ends = await openPath({
          receiver: hostname,
          sender: hostname,
          to,
          isConnected: false,
        });
        const { receiver } = ends;
        expect(kindsOf(receiver.receiveMetadata({ [kind]: true }))).toEqual({
          ...ALL_OFF,
          [kind]: true,
        });
        await sendEach(ends, [{ ecn: 2 }]);
        // A socket that lost nothing is told nothing of losses.
        expect(told(await receiveOne(receiver))).toEqual(kind === "socketDrops" ? [] : [kind]);
        expect(kindsOf(receiver.receiveMetadata({ [kind]: false }))).toEqual(ALL_OFF);
        await sendEach(ends, [{ ecn: 2 }]);
        expect(told(await receiveOne(receiver))).toEqual([]);
      }
    },
  );

  test("leaves kinds that are not named as they are, and says so", async () => {
    using ends = await openIPv4();
    const { receiver } = ends;
    receiver.receiveMetadata({ ecn: true });
    const both = { ...ALL_OFF, ecn: true, destination: true };
    expect(kindsOf(receiver.receiveMetadata({ destination: true }))).toEqual(both);
    expect(kindsOf(receiver.receiveMetadata({}))).toEqual(both);
    expect(kindsOf(receiver.receiveMetadata({ ecn: undefined }))).toEqual(both);
    await sendEach(ends, [undefined]);
    expect(told(await receiveOne(receiver))).toEqual(["destination", "ecn"]);
  });

  test("is all false on the portable backend, which tells of peers alone", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    expect(receiver.receiveMetadata()).toEqual({
      ...ALL_OFF,
      segmentation: false,
      coalescing: false,
    });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await sender.sendTo(new Uint8Array(3), receiver.localAddr);
    const info = await receiveOne(receiver);
    expect([info.length, told(info)]).toEqual([3, []]);
    expect(info.peer?.equals(sender.localAddr)).toBe(true);
    expect(info.timestampNs).toBeUndefined();
  });

  test.each(["shim", "portable"] as const)(
    "is an error for what is no kind, no boolean, or closed: %s",
    async (backend) => {
      using socket = await UdpSocket.bind({ backend });
      const cases: [wanted: unknown, message: string][] = [
        [{ ECN: true }, `RangeError: "wanted" expected ${RECEIVE_METADATA.join(", ")}, got "ECN"`],
        [{ ecn: 1 }, 'TypeError: "wanted.ecn" expected boolean, got 1'],
        [null, 'TypeError: "wanted" expected object, got null'],
        ["ecn", 'TypeError: "wanted" expected object, got "ecn"'],
      ];
      for (const [wanted, message] of cases) {
        const error = thrown(() => socket.receiveMetadata(wanted as ReceiveMetadata));
        expect(`${error}`).toBe(message);
      }
      socket.close();
      const error = thrown(() => socket.receiveMetadata());
      expect(error).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
    },
  );
});

describe("the destination", () => {
  test.each(PATHS)("is where it was sent, with the port and the interface: $name", async (path) => {
    for (const receive of Object.values(WAYS)) {
      using ends = await openPath(path);
      ends.receiver.receiveMetadata({ destination: true, originalDestination: true });
      await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
      const address = path.to.replace("::ffff:", "");
      const expected = `${SocketAddress.ip(address, ends.receiver.localAddr.port)}`;
      for (const info of await receiveInfo(ends.receiver, 3, receive)) {
        expect(`${info.destination}`).toBe(expected);
        expect(`${info.originalDestination}`).toBe(expected);
        expect(info.interfaceIndex).toBe(LO);
      }
    }
  });

  test("tells the addresses of one wildcard socket apart, a group among them", async () => {
    for (const hostname of ["0.0.0.0", ...(HAS_IPV6 ? ["::"] : [])]) {
      using receiver = await UdpSocket.bind({ hostname });
      using sender = await UdpSocket.bind({ hostname });
      receiver.receiveMetadata({ destination: true });
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
      const infos = await receiveInfo(receiver, to.length);
      expect(infos.map(({ destination }) => `${destination}`)).toEqual(to.map(String));
      expect(infos.map(({ interfaceIndex }) => interfaceIndex)).toEqual(to.map(() => LO));
    }
  });
});

describe("the timestamp", () => {
  test.each(Object.entries(WAYS))(
    "lies between the clock before and after, and does not run back, as %s tells",
    async (_, receive) => {
      for (const offload of [true, false]) {
        using ends = await openIPv4(offload);
        ends.receiver.receiveMetadata({ timestamp: true });
        const before = BigInt(Date.now()) * 1_000_000n;
        const times: bigint[] = [];
        for (let round = 0; round < 20; round++) {
          await sendEach(ends, [undefined, { ecn: 1 }, undefined]);
          for (const info of await receiveInfo(ends.receiver, 3, receive)) {
            times.push(info.timestampNs as bigint);
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
      recvBufferBytes: 8192,
      offload: false,
    });
    using sender = await UdpSocket.bind({ hostname: "127.0.0.1", offload: false });
    expect(receiver.receiveMetadata({ socketDrops: true }).socketDrops).toBe(true);
    const to = receiver.localAddr;
    let sent = 0;
    let received = 0;
    for (let round = 0; round < 3; round++) {
      sent += await sender.sendMany(
        Array.from({ length: 200 }, () => new Uint8Array(100)),
        { to },
      );
      const bufs = Array.from({ length: 256 }, () => new Uint8Array(100));
      const info = bufs.map(() => new DatagramInfo());
      const got = await receiver.recvMany(bufs, { info });
      received += got;
      expect(got).toBeLessThan(200);
      // What fitted came before the first loss of this round.
      expect(info[0]?.socketDrops ?? 0).toBe(sent - 200 - (received - got));
      // Whoever comes next into the emptied buffer knows of all that was lost.
      sent += await sender.sendTo(new Uint8Array(1), to);
      const last = await receiveOne(receiver);
      received++;
      expect([last.length, last.socketDrops]).toEqual([1, sent - received]);
    }
    expect(receiver.counters.datagramsDropped).toBe(0);
    // An info that told of losses tells of none where nothing is told.
    const info = [new DatagramInfo()];
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { info });
    expect(info[0]?.socketDrops).toBe(sent + 1 - (received + 1));
    receiver.receiveMetadata({ socketDrops: false });
    await sender.sendTo(new Uint8Array(1), to);
    await receiver.recvMany([new Uint8Array(1)], { info });
    expect(info[0]?.socketDrops).toBeUndefined();
  });

  test("is absent while nothing was lost", async () => {
    using ends = await openIPv4();
    ends.receiver.receiveMetadata({ socketDrops: true });
    await sendEach(ends, [undefined]);
    expect((await receiveOne(ends.receiver)).socketDrops).toBeUndefined();
  });
});

describe("what is left over", () => {
  test("of earlier datagrams is wiped when an info is used on a socket that tells nothing", async () => {
    using telling = await openIPv4();
    using silent = await openIPv4();
    telling.receiver.receiveMetadata();
    const bufs = [new Uint8Array(9)];
    const info = [new DatagramInfo()];
    await sendEach(telling, [{ ecn: 3 }]);
    await telling.receiver.recvMany(bufs, { info });
    const [entry] = info as [DatagramInfo];
    expect(told(entry)).toEqual(
      RECEIVE_METADATA.filter((kind) => GRANTED[kind] && kind !== "socketDrops"),
    );
    await sendEach(silent, [{ ecn: 3 }]);
    await silent.receiver.recvMany(bufs, { info });
    expect(told(entry)).toEqual([]);
    expect(entry.timestampNs).toBeUndefined();
    expect(entry.peer?.port).toBe(silent.sender.localAddr.port);
  });

  test("of earlier datagrams is wiped when a batch is used on another kind of socket", async () => {
    using telling = await openIPv4();
    using silent = await openIPv4();
    using portable = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
    const [left, right] = await UnixDatagram.pair();
    telling.receiver.receiveMetadata();
    const batch = new RecvBatch();
    const info = new DatagramInfo();
    const receivers: [UdpSocket | UnixDatagram, () => Promise<number>][] = [
      [silent.receiver, () => sendEach(silent, [{ ecn: 1 }])],
      [portable, () => silent.sender.sendTo(new Uint8Array(1), portable.localAddr)],
      [right, () => left.send(new Uint8Array(1))],
    ];
    for (const [receiver, send] of receivers) {
      await sendEach(telling, [{ ecn: 3 }]);
      await telling.receiver.recvBatch(batch);
      expect(batch.infoAt(0, info).ecn).toBe(3);
      await send();
      await receiver.recvBatch(batch);
      expect(told(batch.infoAt(0, info))).toEqual([]);
      expect(info.length).toBe(1);
    }
    left.close();
    right.close();
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "of a message that recvMany took in part goes to a batch with all that was told of it",
    async () => {
      using ends = await openIPv4();
      ends.receiver.receiveMetadata({ ecn: true, destination: true, timestamp: true });
      await sendEach(ends, [{ ecn: 3 }, { ecn: 3 }, { ecn: 3 }, { ecn: 1 }, { ecn: 1 }]);
      const first = [new DatagramInfo()];
      await ends.receiver.recvMany([new Uint8Array(9)], { info: first });
      const batch = new RecvBatch();
      const infos: DatagramInfo[] = [];
      while (infos.length < 4) {
        const got = await ends.receiver.recvBatch(batch);
        for (let i = 0; i < got; i++) infos.push(batch.infoAt(i));
      }
      expect(infos.map(({ ecn }) => ecn)).toEqual([3, 3, 1, 1]);
      for (const info of infos) {
        expect(told(info)).toEqual(["destination", "ecn", "timestamp"]);
        expect(info.peer?.port).toBe(ends.sender.localAddr.port);
      }
      expect(infos[0]?.timestampNs).toBe(first[0]?.timestampNs as bigint);
    },
  );
});
