/**
 * The proxy under hostile input: datagrams that no flow asked for, replies to addresses that are no
 * longer in use, and requests with forged source addresses.
 */

import { describe, expect, test } from "bun:test";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import type { SocketAddress } from "../../lib/index.ts";
import { SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import {
  addressOf,
  clientOf,
  EGRESS,
  exchange,
  IDLE_TIMEOUT_MS,
  INGRESS,
  INGRESS_OUT,
  LIMITS,
  openProxy,
  received,
  runtimeOf,
} from "./simulated-proxy.ts";

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
        [INGRESS_OUT, EGRESS.hostname].includes(localAddr.address),
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
    { name: "ten replies", reply: { replies: 10, bytes: 20 }, forwarded: 60 },
    { name: "one reply", reply: { replies: 1, bytes: 297 }, forwarded: 20 },
    { name: "one long reply", reply: { replies: 1, bytes: 301 }, forwarded: 0 },
    { name: "ten long replies", reply: { replies: 10, bytes: 1200 }, forwarded: 0 },
  ];

  test.each(
    REPLIES.flatMap((one) => [
      { ...one, to: INGRESS, end: "ingress" },
      { ...one, to: EGRESS, end: "egress" },
    ]),
  )(
    "$name: a forged address gets at most 3 times what it has sent to the $end",
    async ({ reply, to, forwarded }) => {
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
      expect(toIt.datagrams).toBe(forwarded);
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
