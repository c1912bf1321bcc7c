/** Path MTU, ICMP errors and NATs of simulated networks. */

import { describe, expect, test } from "bun:test";
import { type PathMtuDiscovery, SocketError, type TransportError } from "../../lib/index.ts";
import { SimNetwork } from "../../lib/testing/index.ts";

const A = "10.0.0.1";
const B = "10.0.0.2";
const MTU = 600;
/** The longest payload that fits, and one byte more. */
const FITTING = new Uint8Array(MTU - 28);
const LONG = new Uint8Array(MTU - 27).fill(7);

function open(pathMtuDiscovery: PathMtuDiscovery, isIPv6 = false) {
  const net = new SimNetwork({ link: { mtu: MTU } });
  const receiver = net.bind(isIPv6 ? "fd00::1" : A, 53);
  const connect = receiver.localAddr;
  const sender = net.bind(isIPv6 ? "fd00::2" : B, 0, { connect, pathMtuDiscovery });
  const errors: TransportError[] = [];
  sender.onTransportError((error) => errors.push(error));
  const send = async (payload: Uint8Array) => {
    try {
      await net.run(async () => {
        await sender.send(payload);
        await net.clock.sleep(10);
      });
    } catch (error) {
      if (error instanceof SocketError) return error.code;
      throw error;
    }
    return "sent";
  };
  return { net, receiver, sender, send, errors };
}

describe("a datagram longer than the MTU", () => {
  test("is fragmented if the socket allows it", async () => {
    const { net, receiver, send, errors } = open("off");
    expect(await send(LONG)).toBe("sent");
    expect([receiver.receiveQueueLength, errors.length, net.report.lostTotal]).toEqual([1, 0, 0]);
  });

  test("is lost and reported, with the MTU and the start of its payload", async () => {
    const { net, sender, send, errors } = open("probe");
    expect(await send(FITTING)).toBe("sent");
    expect(errors).toEqual([]);
    expect(await send(LONG)).toBe("sent");
    expect(net.report.lost.mtu).toBe(1);
    expect(errors).toEqual([
      {
        code: "EMSGSIZE",
        errno: 90,
        origin: "icmp",
        icmpType: 3,
        icmpCode: 4,
        mtu: MTU,
        offender: expect.anything(),
        destination: sender.peerAddr as NonNullable<typeof sender.peerAddr>,
        payload: LONG.subarray(0, 520),
      },
    ]);
    expect(sender.counters.transportErrors).toBe(1);
    // A probe ignores what is known.
    expect([await send(LONG), net.report.lost.mtu]).toEqual(["sent", 2]);
  });

  test("is refused by mode on once the path MTU is known, and until it is forgotten", async () => {
    const { net, send } = open("on");
    expect([await send(LONG), await send(LONG)]).toEqual(["sent", "EMSGSIZE"]);
    expect(await send(FITTING)).toBe("sent");
    net.link(A, B, { mtu: 1500 });
    await net.run(() => net.clock.sleep(599_000));
    expect(await send(LONG)).toBe("EMSGSIZE");
    await net.run(() => net.clock.sleep(1000));
    expect(await send(LONG)).toBe("sent");
    expect(net.report.lost.mtu).toBe(1);
  });

  test("is fragmented by mode system once the path MTU is known", async () => {
    const { receiver, send, errors } = open("system");
    expect([await send(LONG), receiver.receiveQueueLength, errors.length]).toEqual(["sent", 0, 1]);
    expect([await send(LONG), receiver.receiveQueueLength, errors.length]).toEqual(["sent", 1, 1]);
  });

  test("is reported by ICMPv6 with its own types and header lengths", async () => {
    const { net, send, errors } = open("probe", true);
    expect(await send(new Uint8Array(MTU - 48))).toBe("sent");
    expect(net.report.lost.mtu).toBe(0);
    expect(await send(new Uint8Array(MTU - 47))).toBe("sent");
    expect(errors[0]).toMatchObject({ origin: "icmp6", icmpType: 2, icmpCode: 0, mtu: MTU });
  });

  test("is not reported by a black hole, or if the error is lost", async () => {
    const { net, send, errors } = open("on");
    net.linkOneWay(B, A, { icmp: false });
    expect(await send(LONG)).toBe("sent");
    net.link(A, B, { icmp: true });
    net.linkOneWay(A, B, { loss: 1 });
    expect(await send(LONG)).toBe("sent");
    expect([errors.length, net.report.lost.mtu, net.report.icmpErrorsLost]).toEqual([0, 2, 1]);
  });
});

describe("a closed port", () => {
  function openToClosed(sendErrors: "throw" | "drop" = "throw") {
    const net = new SimNetwork();
    const closed = net.bind(A, 53);
    closed.close();
    const sender = net.bind(B, 0, { connect: closed.localAddr, sendErrors });
    return { net, sender };
  }

  test("makes the next call of a connected socket fail, once", async () => {
    const { net, sender } = openToClosed();
    const codes: unknown[] = [];
    await net.run(async () => {
      await sender.send(FITTING);
      codes.push(await sender.recv(new Uint8Array(1)).catch((error) => error.code));
      await sender.send(FITTING);
      await net.clock.sleep(10);
      codes.push(await sender.send(FITTING).catch((error) => error.code));
      codes.push(await sender.send(FITTING));
    });
    expect(codes).toEqual(["ECONNREFUSED", "ECONNREFUSED", FITTING.length]);
    expect(sender.counters).toMatchObject({ sendErrors: 1, receiveErrors: 1, transportErrors: 2 });
    expect(net.report.icmpErrors).toBe(2);
  });

  test("makes no send fail with sendErrors drop", async () => {
    const { net, sender } = openToClosed("drop");
    await net.run(async () => {
      await sender.send(FITTING);
      await net.clock.sleep(10);
      expect(await sender.send(FITTING)).toBe(FITTING.length);
    });
    expect(sender.counters).toMatchObject({ datagramsSent: 2, sendDrops: 0, transportErrors: 1 });
  });

  test("is not reported to an unconnected socket without a handler", async () => {
    const { net } = openToClosed();
    const sender = net.bind(B);
    const target = net.bind(A);
    target.close();
    await net.run(async () => {
      for (let i = 0; i < 3; i++) {
        await sender.sendTo(FITTING, target.localAddr);
        await net.clock.sleep(10);
      }
    });
    expect([sender.counters.transportErrors, net.report.icmpErrors]).toEqual([3, 3]);
  });
});

describe("a NAT", () => {
  const OUTSIDE = "203.0.113.1";

  function openBehindNat(filter?: "peer" | "none") {
    const net = new SimNetwork();
    const nat = net.nat({ outside: OUTSIDE, inside: [B], filter });
    const server = net.bind(A, 53);
    const client = net.bind(B, 0, { connect: server.localAddr });
    const echo = async () => {
      const buffer = new Uint8Array(100);
      await client.send(Uint8Array.of(1, 2, 3));
      const { peer, length } = await server.recvFrom(buffer);
      if (peer !== undefined) await server.sendTo(buffer.subarray(0, length), peer);
      await net.clock.sleep(5);
      return peer;
    };
    return { net, nat, server, client, echo };
  }

  test("translates both directions, with the same mapping for all datagrams", async () => {
    const { net, nat, client, echo } = openBehindNat();
    const peers = [await net.run(echo), await net.run(echo)].map(String);
    expect(peers[0]).toStartWith(`${OUTSIDE}:`);
    expect(peers[1]).toBe(peers[0]);
    expect(`${nat.mappingOf(client.localAddr)}`).toBe(peers[0] as string);
    expect(client.receiveQueueLength).toBe(2);
  });

  test("that rebinds uses another port, and loses datagrams to the former one", async () => {
    const { net, nat, server, client, echo } = openBehindNat();
    const before = (await net.run(echo)) as NonNullable<typeof client.peerAddr>;
    nat.rebind(client.localAddr);
    const after = await net.run(echo);
    expect(after?.port).not.toBe(before.port);
    await net.run(() => server.sendTo(FITTING, before));
    await net.drain();
    expect([client.receiveQueueLength, net.report.lost.nat]).toEqual([2, 1]);
    nat.rebind("10.9.9.9");
    expect(nat.mappingOf(client.localAddr)?.port).toBe(after?.port as number);
    nat.rebind(B);
    expect(nat.mappingOf(client.localAddr)).toBeUndefined();
  });

  test("filters datagrams of others, unless its filter is disabled", async () => {
    for (const [filter, lost] of [
      ["peer", 1],
      ["none", 0],
    ] as const) {
      const { net, server, echo } = openBehindNat(filter);
      const peer = (await net.run(echo)) as NonNullable<typeof server.peerAddr>;
      const stranger = net.bind("10.0.0.9");
      await net.run(() => stranger.sendTo(FITTING, peer));
      await net.drain();
      expect([filter, net.report.lost.nat]).toEqual([filter, lost]);
    }
  });

  test("translates ICMP errors, and does not translate between hosts inside", async () => {
    const { net, server, client } = openBehindNat();
    server.close();
    const code = await net.run(async () => {
      await client.send(FITTING);
      return client.recv(new Uint8Array(1)).catch((error) => error.code);
    });
    expect(code).toBe("ECONNREFUSED");
    const neighbor = net.bind(B, 9);
    const meta = await net.run(async () => {
      const received = neighbor.recvFrom(new Uint8Array(1000));
      await net.bind(B, 10).sendTo(FITTING, neighbor.localAddr);
      return received;
    });
    expect(`${meta.peer}`).toBe(`${B}:10`);
  });

  test("refuses unknown options", () => {
    const net = new SimNetwork();
    const nat = (options: object) => () => net.nat({ outside: OUTSIDE, inside: [], ...options });
    expect(nat({ hairpin: true })).toThrow(
      '"nat" got unknown option "hairpin", expected only outside',
    );
    expect(nat({ filter: "all" })).toThrow('"filter" expected "peer" or "none", got "all"');
  });
});
