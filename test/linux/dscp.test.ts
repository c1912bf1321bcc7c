/** DSCP, ECN and hop limits: of sockets and of single datagrams, sent and received. */

import { describe, expect, test } from "bun:test";
import { SendBatch, type SendMeta, UdpSocket } from "../../lib/index.ts";
import {
  openPath,
  PATHS,
  RECEIVE_METHODS,
  receiveMetas,
  receiveOne,
  sendEach,
} from "../datagram/metadata-tools.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { HAS_IPV6, rejection, thrown } from "../tools/sockets.ts";

/** Level and name of IP_TOS and IPV6_TCLASS. */
const IP_TOS = [0, 1] as const;
const IPV6_TCLASS = [41, 67] as const;

/** Expedited forwarding (RFC 3246): the octet is 0xb8 without ECN. */
const EF = 46;

type Octet = readonly [dscp: number | undefined, ecn: number | undefined];

describe.each(PATHS)("$name", (path) => {
  const cases: [sent: SendMeta | undefined, received: Octet][] = [
    [undefined, [EF, 0]],
    [{ ecn: 2 }, [EF, 2]],
    [{ ecn: 0 }, [EF, 0]],
    [{ dscp: 10 }, [10, 0]],
    [{ dscp: 0 }, [0, 0]],
    [{ dscp: 63, ecn: 3 }, [63, 3]],
    [{ dscp: 0, ecn: 1 }, [0, 1]],
    [undefined, [EF, 0]],
  ];

  test.each(Object.entries(RECEIVE_METHODS))(
    "a field that a datagram does not set is that of the socket, received by %s",
    async (_, receive) => {
      for (const offload of [true, false]) {
        using ends = await openPath(path, offload);
        ends.sender.setDscp(EF);
        ends.receiver.enableMetadata({ ecn: true });
        await sendEach(
          ends,
          cases.map(([sent]) => sent),
        );
        const metas = await receiveMetas(ends.receiver, cases.length, receive);
        expect(metas.map(({ dscp, ecn }) => [dscp, ecn])).toEqual(
          cases.map(([, received]) => [...received]),
        );
      }
    },
  );

  test("setDscp and setOption apply to the next datagram, also after one with metadata", async () => {
    using ends = await openPath(path);
    ends.receiver.enableMetadata({ ecn: true });
    const exchange = async (meta: SendMeta | undefined) => {
      await sendEach(ends, [meta]);
      const { dscp, ecn } = await receiveOne(ends.receiver);
      return [dscp, ecn];
    };
    expect(await exchange({ ecn: 1 })).toEqual([0, 1]);
    ends.sender.setDscp(EF);
    expect(await exchange({ ecn: 1 })).toEqual([EF, 1]);
    expect(await exchange(undefined)).toEqual([EF, 0]);
    setOctet(ends.sender, (10 << 2) | 2);
    expect(await exchange({ ecn: 1 })).toEqual([10, 1]);
    expect(await exchange({ dscp: 20 })).toEqual([20, 2]);
    expect(await exchange(undefined)).toEqual([10, 2]);
    // The ECN field of the socket stays.
    ends.sender.setDscp(30);
    expect(await exchange(undefined)).toEqual([30, 2]);
    expect(octetOf(ends.sender)).toBe((30 << 2) | 2);
  });

  test("the TTL or hop limit is reported if requested", async () => {
    for (const [name, receive] of Object.entries(RECEIVE_METHODS)) {
      using ends = await openPath(path);
      expect(ends.receiver.enableMetadata({ hopLimit: true }).hopLimit).toBe(true);
      ends.sender.setTTL(7);
      await sendEach(ends, [undefined]);
      ends.sender.setTTL(255);
      await sendEach(ends, [undefined]);
      const limits = await receiveMetas(ends.receiver, 2, receive);
      expect([name, ...limits.map(({ hopLimit }) => hopLimit)]).toEqual([name, 7, 255]);
      ends.receiver.enableMetadata({ hopLimit: false });
      await sendEach(ends, [undefined]);
      expect((await receiveOne(ends.receiver)).hopLimit).toBeUndefined();
    }
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "all kinds of metadata fit into the control buffer, with GRO and losses",
    async () => {
      using ends = await openPath(path);
      ends.receiver.enableMetadata();
      // The counter of losses is a control message, and absent before the first one.
      await overflow(ends.receiver, ends.sender, ends.to);
      await sendEach(ends, [{ dscp: EF }, { dscp: EF }]);
      const metas = await receiveMetas(ends.receiver, 2);
      for (const meta of metas) {
        expect(meta.controlTruncated).toBe(false);
        expect(meta.socketDrops).toBeGreaterThan(0);
        expect([meta.dscp, meta.hopLimit]).toEqual([EF, 64]);
      }
      expect(ends.receiver.counters.controlTruncated).toBe(0);
    },
  );
});

/** Returns the octet of DSCP and ECN that a socket has for its own family. */
function octetOf(socket: UdpSocket): number {
  const isIPv6 = socket.localAddr.family === "IPv6";
  return isIPv6 ? socket.getOption(...IPV6_TCLASS) : socket.getOption(...IP_TOS);
}

/** Sets the octet with `setOption`, for both families. */
function setOctet(socket: UdpSocket, octet: number): void {
  socket.setOption(...IP_TOS, octet);
  if (socket.localAddr.family === "IPv6") socket.setOption(...IPV6_TCLASS, octet);
}

/** Sends until the receive buffer overflows, then empties it. */
async function overflow(
  receiver: UdpSocket,
  sender: UdpSocket,
  to: UdpSocket["localAddr"] | undefined,
): Promise<void> {
  const [level, name] = [1, 8]; // SOL_SOCKET, SO_RCVBUF
  receiver.setOption(level, name, 4096);
  const bytes = new Uint8Array(60_000);
  for (let i = 0; i < 3; i++) {
    const batch = new SendBatch().push(bytes, to);
    await sender.sendBatch(batch);
  }
  const buffer = new Uint8Array(2000);
  while (typeof receiver.tryRecv(buffer) === "number");
  receiver.setOption(level, name, 2 ** 20);
}

describe("the option dscp", () => {
  const HOSTS = HAS_IPV6 ? ["127.0.0.1", "::1", "::"] : ["127.0.0.1"];

  test.each(HOSTS)(
    "applies to a socket bound to %s, and to one that adopts it",
    async (hostname) => {
      const socket = await UdpSocket.bind({ hostname, dscp: EF });
      expect(octetOf(socket)).toBe(EF << 2);
      setOctet(socket, (EF << 2) | 1);
      // Kept by an adoption without the option.
      const adopted = await UdpSocket.fromFd(socket.intoFd() as number);
      expect(octetOf(adopted)).toBe((EF << 2) | 1);
      using changed = await UdpSocket.fromFd(adopted.intoFd() as number, { dscp: 8 });
      expect(octetOf(changed)).toBe((8 << 2) | 1);
    },
  );

  test("of an adopted descriptor is combined with the ECN of datagrams", async () => {
    const bound = await UdpSocket.bind({ hostname: "127.0.0.1", dscp: EF });
    using sender = await UdpSocket.fromFd(bound.intoFd() as number);
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
    receiver.enableMetadata({ ecn: true });
    await sendEach({ sender, to: receiver.localAddr }, [{ ecn: 2 }]);
    expect(await receiveOne(receiver)).toMatchObject({ dscp: EF, ecn: 2 });
  });

  test("is refused outside of 0..63, as setDscp and SendMeta.dscp are", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    for (const dscp of [-1, 64, 1.5, "1", null, Number.NaN] as number[]) {
      const type = typeof dscp === "number" ? RangeError : TypeError;
      expect(await rejection(UdpSocket.bind({ dscp }))).toBeInstanceOf(type);
      expect(thrown(() => socket.setDscp(dscp))).toBeInstanceOf(type);
      expect(thrown(() => new SendBatch().meta({ dscp }))).toBeInstanceOf(type);
    }
    socket.close();
    expect(thrown(() => socket.setDscp(1))).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  });

  test("requires the native backend", async () => {
    const backend = "portable" as const;
    const unsupported = { code: "ERR_NOT_SUPPORTED" };
    expect(await rejection(UdpSocket.bind({ dscp: EF, backend }))).toMatchObject(unsupported);
    using socket = await UdpSocket.bind({ backend });
    expect(thrown(() => socket.setDscp(EF))).toMatchObject(unsupported);
    expect(socket.enableMetadata().hopLimit).toBe(false);
  });
});

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "datagrams with the same DSCP are segments of one message, others are not",
  async () => {
    const path = { receiver: "0.0.0.0", sender: "0.0.0.0", to: "127.0.0.1", isConnected: false };
    using ends = await openPath(path);
    ends.receiver.enableMetadata({ ecn: true });
    await sendEach(
      ends,
      [1, 1, 2, 2, 2, 1].map((dscp) => ({ dscp })),
    );
    const metas = await receiveMetas(ends.receiver, 6);
    expect(metas.map(({ dscp }) => dscp)).toEqual([1, 1, 2, 2, 2, 1]);
    expect(ends.sender.counters.messagesSent).toBe(3);
    expect(ends.receiver.counters.messagesReceived).toBe(3);
  },
);
