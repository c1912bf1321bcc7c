/** Flows of the egress that are removed while their upstream socket is being opened. */

import { describe, expect, test } from "bun:test";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import type { ProxySocket } from "../../examples/flow-proxy/open-socket.ts";
import type { Runtime } from "../../examples/flow-proxy/runtime.ts";
import { SocketAddress, SocketError } from "../../lib/index.ts";
import { SimNetwork } from "../../lib/testing/index.ts";

const EGRESS = "10.0.0.2";
const LISTEN = { hostname: EGRESS, port: 6000 };
const UPSTREAM = { hostname: "10.0.0.3", port: 7000 };
const IDLE_TIMEOUT_MS = 100;

/** Opens an egress that opens upstream sockets with `openUpstream`, and a socket of an ingress. */
async function openEgress(openUpstream: (net: SimNetwork) => Promise<ProxySocket>) {
  const net = new SimNetwork();
  const runtime: Runtime = {
    openSocket: async ({ port }) =>
      port === undefined ? openUpstream(net) : net.bind(EGRESS, port, { sendErrors: "drop" }),
    nowMs: () => net.now,
    callLater: (callback, delayMs) => void net.clock.setTimeout(callback, delayMs),
    callRepeatedly: (callback, intervalMs) => {
      const timer = net.clock.setInterval(callback, intervalMs);
      return () => timer.clear();
    },
  };
  const limits = { flowsMax: 10, idleTimeoutMs: IDLE_TIMEOUT_MS };
  const egress = await Egress.open({ listen: LISTEN, upstream: UPSTREAM, ...limits, runtime });
  const ingress = net.bind("10.0.0.1", 0, {
    connect: SocketAddress.ip(LISTEN.hostname, LISTEN.port),
  });
  return { net, egress, ingress };
}

/** A tunnel datagram of flow `id`. */
const datagramOf = (id: number) => Uint8Array.of(id, 1, 2, 3);

describe("a flow that expires while its upstream socket is being opened", () => {
  test("is removed once, even if the socket cannot be opened", async () => {
    const { net, egress, ingress } = await openEgress(async (net) => {
      await net.clock.sleep(2 * IDLE_TIMEOUT_MS);
      throw new SocketError({ errno: 24, code: "EMFILE", syscall: "socket" });
    });
    await net.run(async () => {
      await ingress.send(datagramOf(1));
      await net.clock.sleep(1.5 * IDLE_TIMEOUT_MS);
      expect(egress.snapshot().flows).toBe(0);
      // A second flow, which the failure of the first one must not remove from the table.
      await ingress.send(datagramOf(2));
      await net.clock.sleep(0.7 * IDLE_TIMEOUT_MS);
      expect(egress.snapshot().flows).toBe(1);
      await net.clock.sleep(3 * IDLE_TIMEOUT_MS);
    });
    const { flows, flowCounters, drops, socketErrors } = egress.snapshot();
    expect([flows, flowCounters.expired, drops.failed, socketErrors]).toEqual([0, 2, 2, 2]);
    egress.close();
  });

  test("does not keep the socket that is opened in the end", async () => {
    let reads = 0;
    const { net, egress, ingress } = await openEgress(async (net) => {
      await net.clock.sleep(2 * IDLE_TIMEOUT_MS);
      const socket = net.bind(EGRESS);
      const { counters } = socket;
      return Object.defineProperty(socket, "counters", {
        get: () => {
          reads++;
          return counters;
        },
      });
    });
    await net.run(async () => {
      await ingress.send(datagramOf(1));
      await net.clock.sleep(3 * IDLE_TIMEOUT_MS);
    });
    expect(egress.snapshot().flows).toBe(0);
    // Only the tunnel socket is open, and a snapshot reads the counters of no other.
    expect([
      net.sockets.filter(({ localAddr }) => localAddr.address === EGRESS).length,
      reads,
    ]).toEqual([1, 0]);
    egress.close();
  });
});
