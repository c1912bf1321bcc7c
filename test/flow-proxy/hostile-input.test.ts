/**
 * The proxy under hostile input: floods of new flows, datagrams that no flow asked for, replies to
 * addresses that are no longer in use, and requests with forged source addresses.
 */

import { describe, expect, test } from "bun:test";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { Pending, RecvMeta, SocketAddress } from "../../lib/index.ts";
import { SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import { SimRuntime } from "../sim/sim-runtime.ts";

const INGRESS = { hostname: "10.0.0.1", port: 5000 };
const EGRESS = { hostname: "10.0.0.2", port: 6000 };
const ORIGIN = { hostname: "10.0.0.3", port: 7000 };
/** The addresses of floods, without the last digit. */
const FLOODER = "10.6.6.";
const FLOWS_MAX = 64;
const IDLE_TIMEOUT_MS = 30_000;
const LIMITS = { flowsMax: FLOWS_MAX, idleTimeoutMs: IDLE_TIMEOUT_MS };

function addressOf({ hostname, port }: { hostname: string; port: number }): SocketAddress {
  return SocketAddress.ip(hostname, port);
}

function runtimeOf(net: SimNetwork, host: string): SimRuntime {
  return new SimRuntime(net, { listenHost: host, connectHost: host, openMs: 0, openFailures: 0 });
}

/** Replies to each datagram with `replies` datagrams of `bytes` bytes; default: an echo. */
function serve(socket: SimSocket, options: { replies?: number; bytes?: number } = {}): void {
  const buffer = new Uint8Array(2000);
  const meta = new RecvMeta();
  const receive = (): void => {
    while (!socket.isClosed) {
      const length = socket.pollRecvFrom(receive, buffer, meta);
      if (length === Pending) return;
      for (let i = 0; i < (options.replies ?? 1); i++) {
        const reply = buffer.slice(0, options.bytes ?? length);
        socket.trySendTo(reply, meta.peer as SocketAddress);
      }
    }
  };
  receive();
}

/** Receives what is queued, and returns the lengths. */
function received(socket: SimSocket): number[] {
  const lengths: number[] = [];
  const buffer = new Uint8Array(2000);
  while (socket.receiveQueueLength > 0) lengths.push(socket.tryRecv(buffer) as number);
  return lengths;
}

/** Both halves, an origin, and a network without delay. */
async function openProxy(
  net: SimNetwork,
  options: { replies?: number; bytes?: number; replyFactor?: number } = {},
) {
  const { replyFactor } = options;
  const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
  serve(origin, options);
  const egress = await Egress.open({
    ...{ listen: EGRESS, upstream: ORIGIN, replyFactor },
    ...{ runtime: runtimeOf(net, EGRESS.hostname), ...LIMITS },
  });
  const ingress = await Ingress.open({
    ...{ listen: INGRESS, tunnel: EGRESS, replyFactor },
    ...{ runtime: runtimeOf(net, INGRESS.hostname), ...LIMITS },
  });
  const close = () => {
    ingress.close();
    egress.close();
    origin.close();
  };
  return { ingress, egress, origin, close };
}

function clientOf(net: SimNetwork, host: string, port = 0): SimSocket {
  return net.bind(host, port, { connect: addressOf(INGRESS) });
}

/** Sends a request, and returns the lengths of the replies that arrive within 10 ms. */
async function exchange(net: SimNetwork, client: SimSocket, bytes = 100): Promise<number[]> {
  await client.send(new Uint8Array(bytes));
  await net.clock.sleep(10);
  return received(client);
}

describe("a flood of new flows from one address", () => {
  test("evicts no flow of other addresses, however idle", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      // A quarter of the table, as of clients that share an address.
      const clients = Array.from({ length: FLOWS_MAX / 4 }, () => clientOf(net, "10.1.0.1"));
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      // For 24 s: the clients' flows are idle, and do not expire.
      for (let i = 0; i < 2000; i++) {
        const flooder = clientOf(net, `${FLOODER}1`);
        await flooder.send(Uint8Array.of(1));
        await net.clock.sleep(12);
        flooder.close();
      }
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      const { flows, flowCounters } = proxy.ingress.snapshot();
      expect(flows).toBe(FLOWS_MAX);
      // Those that were opened after the clients' flows are the flooder's: no client has a new one.
      expect(flowCounters.opened - clients.length + flowCounters.refused).toBe(2000);
      expect(flowCounters.evicted).toBeGreaterThan(0);
      // The egress has removed the same flows: those of the clients have kept their upstream sockets.
      const egress = proxy.egress.snapshot();
      expect([egress.flows, egress.flowCounters.opened]).toEqual([FLOWS_MAX, flowCounters.opened]);
      expect(egress.flowCounters.ended).toBe(flowCounters.evicted);
      proxy.close();
    });
  });

  test.each([1, 2, 4])(
    "and from %i addresses at a time, all in use, leaves room to others",
    async (count) => {
      const net = new SimNetwork({ seed: 1 });
      await net.run(async () => {
        const proxy = await openProxy(net);
        const flooders = Array.from({ length: FLOWS_MAX }, (_, i) =>
          clientOf(net, `${FLOODER}${i % count}`),
        );
        const flood = async () => {
          for (const flooder of flooders) await flooder.send(Uint8Array.of(1));
          await net.clock.sleep(1);
        };
        await flood();
        // Others get half of the table, one after the other, and keep it.
        const clients: SimSocket[] = [];
        for (let i = 0; i < FLOWS_MAX / 2; i++) {
          await flood();
          clients.push(clientOf(net, `10.1.0.${i + 1}`));
          expect(await exchange(net, clients[i] as SimSocket)).toEqual([100]);
        }
        for (let round = 0; round < 10; round++) {
          await flood();
          await net.clock.sleep(500);
          for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
        }
        // No client was assigned a second flow.
        const { evicted } = proxy.ingress.snapshot().flowCounters;
        expect(evicted).toBe(FLOWS_MAX / 2);
        proxy.close();
      });
    },
  );

  test("of tunnel datagrams leaves room to other ingresses at the egress", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const early = clientOf(net, "10.1.0.1");
      expect(await exchange(net, early)).toEqual([100]);
      const flooder = net.bind(`${FLOODER}1`, 1, { connect: addressOf(EGRESS) });
      for (let id = 0; id < 2000; id++) {
        await flooder.send(Uint8Array.of(0x40 | (id >> 8), id & 255, 7));
        if (id % 8 === 0) await net.clock.sleep(100);
      }
      await net.clock.sleep(10);
      expect(proxy.egress.snapshot().flows).toBe(FLOWS_MAX);
      const { opened } = proxy.egress.snapshot().flowCounters;
      expect(await exchange(net, early)).toEqual([100]);
      expect(proxy.egress.snapshot().flowCounters.opened).toBe(opened);
      expect(await exchange(net, clientOf(net, "10.1.0.2"))).toEqual([100]);
      proxy.close();
    });
  });
});

test("a flood with forged addresses evicts no flow in use, and its datagrams are counted", async () => {
  const net = new SimNetwork({ seed: 1 });
  await net.run(async () => {
    const proxy = await openProxy(net);
    const clients = Array.from({ length: FLOWS_MAX / 2 }, (_, i) =>
      clientOf(net, `10.1.0.${i + 1}`),
    );
    const exchangeAll = async () => {
      for (const client of clients) await client.send(new Uint8Array(100));
      await net.clock.sleep(10);
      for (const client of clients) expect(received(client)).toEqual([100]);
    };
    await exchangeAll();
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 100; i++) {
        const forged = clientOf(net, `10.${20 + round}.0.${i + 1}`);
        await forged.send(Uint8Array.of(1));
        forged.close();
      }
      await net.clock.sleep(500);
      await exchangeAll();
    }
    const { flows, flowCounters, drops } = proxy.ingress.snapshot();
    expect(flows).toBe(FLOWS_MAX);
    // No client was assigned a second flow.
    expect(flowCounters.opened - clients.length + flowCounters.refused).toBe(1000);
    expect([drops.refused, flowCounters.refused > 0]).toEqual([flowCounters.refused, true]);
    proxy.close();
  });
});

describe("replies", () => {
  test("reach only the client whose flow has asked", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const [asking, silent] = [clientOf(net, "10.1.0.1", 9), clientOf(net, "10.1.0.2", 9)];
      expect(await exchange(net, asking)).toEqual([100]);
      const stranger = net.bind("10.7.7.7", 9);
      // To both ends of the tunnel and of the upstream's flow, from an address that is no peer.
      const ends = net.sockets.filter(({ localAddr }) =>
        [INGRESS.hostname, EGRESS.hostname].includes(localAddr.address),
      );
      const connected = ends.filter(({ peerAddr }) => peerAddr !== undefined);
      expect(connected.length).toBe(2);
      for (const { localAddr } of connected) {
        for (let id = 0; id < 64; id++) await stranger.sendTo(Uint8Array.of(id, 1), localAddr);
      }
      await net.clock.sleep(100);
      expect([received(asking), received(silent)]).toEqual([[], []]);
      proxy.close();
    });
  });
});

/** Returns the addresses of the egress's open upstream sockets. */
function flowsOf(net: SimNetwork): SocketAddress[] {
  return net.sockets
    .filter(({ localAddr, peerAddr }) => localAddr.address === EGRESS.hostname && peerAddr)
    .map(({ localAddr }) => localAddr);
}

/** A proxy whose upstream sends on its own, and does not stop when a client has gone. */
async function openPushProxy(net: SimNetwork) {
  const proxy = await openProxy(net, { replies: 0 });
  /** Sends a datagram per second to the flow with the address `to`. */
  const push = async (to: SocketAddress, count: number) => {
    for (let i = 0; i < count; i++) {
      await proxy.origin.sendTo(Uint8Array.of(9), to);
      await net.clock.sleep(1000);
    }
  };
  return { ...proxy, push };
}

describe("after a rebinding", () => {
  const TIMEOUT_S = IDLE_TIMEOUT_MS / 1000;

  test("of the tunnel, replies to the old address end after the idle timeout, and are counted", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openPushProxy(net);
      // The tunnel datagrams of one ingress, from the first address and from the second one.
      const [old, moved] = [1, 2].map((port) =>
        net.bind("10.0.0.9", port, { connect: addressOf(EGRESS) }),
      ) as [SimSocket, SimSocket];
      await old.send(Uint8Array.of(5, 1, 2, 3));
      await net.clock.sleep(10);
      const [upstream] = flowsOf(net);
      await proxy.origin.sendTo(Uint8Array.of(9), upstream as SocketAddress);
      await net.clock.sleep(10);
      await old.send(Uint8Array.of(5, 1, 2, 3));
      await net.clock.sleep(10);
      await moved.send(Uint8Array.of(5, 1, 2, 3));
      await proxy.push(upstream as SocketAddress, TIMEOUT_S + 1);
      expect(received(old).length).toBe(1 + TIMEOUT_S);
      await proxy.push(upstream as SocketAddress, 10);
      expect(received(old)).toEqual([]);
      expect(proxy.egress.snapshot().drops.stale).toBe(11);
      await proxy.push(upstream as SocketAddress, TIMEOUT_S);
      const { flows, flowCounters } = proxy.egress.snapshot();
      expect([flows, flowCounters.expired]).toEqual([0, 2]);
      proxy.close();
    });
  });

  test("of a client, the same, at the ingress", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 0 });
      const tunnel = net.bind("10.0.0.9", 1);
      const ingress = await Ingress.open({
        ...{
          listen: { ...INGRESS, hostname: "10.0.0.8" },
          tunnel: { hostname: "10.0.0.9", port: 1 },
        },
        ...{ runtime: runtimeOf(net, "10.0.0.8"), ...LIMITS, firstFlowId: 5 },
      });
      const client = net.bind("10.1.0.1", 1, { connect: ingress.localAddr });
      const end = net.sockets.find(({ peerAddr }) => peerAddr?.equals(tunnel.localAddr));
      const push = async (count: number) => {
        for (let i = 0; i < count; i++) {
          await tunnel.sendTo(Uint8Array.of(5, 9), (end as SimSocket).localAddr);
          await net.clock.sleep(1000);
        }
      };
      await client.send(Uint8Array.of(1, 2, 3));
      await net.clock.sleep(10);
      await push(1);
      await client.send(Uint8Array.of(1, 2, 3));
      await net.clock.sleep(10);
      await push(TIMEOUT_S + 1);
      expect(received(client).length).toBe(1 + TIMEOUT_S);
      await push(10);
      expect(received(client)).toEqual([]);
      expect(ingress.snapshot().drops.stale).toBe(11);
      // A client that is still there gets replies again as soon as it sends.
      await client.send(Uint8Array.of(1, 2, 3));
      await push(1);
      expect(received(client).length).toBe(1);
      expect(ingress.snapshot().flowCounters.opened).toBe(1);
      ingress.close();
      proxy.close();
    });
  });
});

/** The datagrams and bytes that a host sent and received. */
function trafficOf(net: SimNetwork, host: string) {
  const totals = { toIt: { datagrams: 0, bytes: 0 }, fromIt: { datagrams: 0, bytes: 0 } };
  net.observe(({ kind, datagram }) => {
    if (kind !== "send") return;
    const { from, to, payload } = datagram;
    const total =
      to.address === host ? totals.toIt : from.address === host ? totals.fromIt : undefined;
    if (total === undefined) return;
    total.datagrams++;
    total.bytes += payload.length;
  });
  return totals;
}

describe("an upstream whose responses are large", () => {
  const VICTIM = "10.8.8.8";
  const REPLIES = [
    { name: "ten replies", reply: { replies: 10, bytes: 20 } },
    { name: "one long reply", reply: { replies: 1, bytes: 1200 } },
    { name: "ten long replies", reply: { replies: 10, bytes: 1200 } },
  ];

  test.each(
    REPLIES.flatMap(({ name, reply }) => [
      { name, reply, to: INGRESS, end: "ingress" },
      { name, reply, to: EGRESS, end: "egress" },
    ]),
  )(
    "$name: a forged address gets at most 3 times what it has sent to the $end",
    async ({ reply, to }) => {
      const net = new SimNetwork({ seed: 1 });
      const { toIt, fromIt } = trafficOf(net, VICTIM);
      let drops = 0;
      await net.run(async () => {
        const proxy = await openProxy(net, reply);
        // Each from a port of its own: no reply is followed by another request of its flow.
        for (let i = 0; i < 20; i++) {
          await net.bind(VICTIM, 1 + i, { connect: addressOf(to) }).send(new Uint8Array(100));
        }
        await net.clock.sleep(100);
        drops = proxy.ingress.snapshot().drops.amplified + proxy.egress.snapshot().drops.amplified;
        proxy.close();
      });
      expect(fromIt).toEqual({ datagrams: 20, bytes: 2000 });
      expect(toIt.datagrams).toBeLessThanOrEqual(3 * fromIt.datagrams);
      expect(toIt.bytes).toBeLessThanOrEqual(3 * fromIt.bytes);
      expect(drops).toBe(20 * reply.replies - toIt.datagrams);
    },
  );

  test("forged requests of one flow get at most 3 times as much in total before a reply", async () => {
    const net = new SimNetwork({ seed: 1 });
    const { toIt, fromIt } = trafficOf(net, VICTIM);
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 1, bytes: 1200 });
      const forged = clientOf(net, VICTIM);
      // No reply fits the allowance of the first eleven.
      for (let i = 0; i < 11; i++) await exchange(net, forged, 36);
      expect(toIt).toEqual({ datagrams: 0, bytes: 0 });
      await exchange(net, forged, 36);
      expect([toIt.bytes, fromIt.bytes]).toEqual([1200, 432]);
      proxy.close();
    });
  });

  test("a client that sends again after a reply gets everything from then on", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 10, bytes: 100 });
      const client = clientOf(net, "10.1.0.1");
      expect((await exchange(net, client)).length).toBe(3);
      expect((await exchange(net, client, 1)).length).toBe(10);
      expect((await exchange(net, client, 0)).length).toBe(10);
      proxy.close();
    });
  });

  test("the first packets of a QUIC server all pass: 3 times the bytes of the client's", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 3, bytes: 1200 });
      expect(await exchange(net, clientOf(net, "10.1.0.1"), 1200)).toEqual([1200, 1200, 1200]);
      const { drops } = proxy.ingress.snapshot();
      expect([drops.amplified, proxy.egress.snapshot().drops.amplified]).toEqual([0, 0]);
      proxy.close();
    });
  });

  test("another reply factor is applied at both ends", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net, { replies: 10, bytes: 100, replyFactor: 5 });
      expect((await exchange(net, clientOf(net, "10.1.0.1"))).length).toBe(5);
      proxy.close();
    });
  });
});
