/** Tests of the proxy's tunnel endpoints, ingress and egress, over loopback. */

import { afterEach, describe, expect, test } from "bun:test";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { hasPassed, runLoad } from "../../examples/flow-proxy/load-generator.ts";
import { Origin } from "../../examples/flow-proxy/origin.ts";
import { FLOW_SLOTS, flowIdLength } from "../../examples/flow-proxy/tunnel-datagram.ts";
import {
  type Backend,
  DgramBuffer,
  type HostAndPort,
  type SocketAddress,
  UdpSocket,
  varintLength,
} from "../../lib/index.ts";
import { BACKENDS, closedPort, until } from "../tools/sockets.ts";

const LOOPBACK: HostAndPort = { hostname: "127.0.0.1", port: 0 };
const LIMITS = { flowsMax: 100, idleTimeoutMs: 30_000 };

const opened: { close(): void }[] = [];

/** Closes `closable` after the test. */
function closeLater<T extends { close(): void }>(closable: T): T {
  opened.push(closable);
  return closable;
}

afterEach(() => {
  for (const closable of opened.splice(0)) closable.close();
});

function hostAndPort({ address, port }: SocketAddress): HostAndPort {
  return { hostname: address, port };
}

async function bind(backend: Backend): Promise<UdpSocket> {
  return closeLater(await UdpSocket.bind({ ...LOOPBACK, backend }));
}

async function connect(to: SocketAddress, backend: Backend): Promise<UdpSocket> {
  return closeLater(await UdpSocket.connect(hostAndPort(to), { backend }));
}

/** Receives a datagram, and returns it with its source address. */
async function receive(socket: UdpSocket): Promise<{ bytes: Uint8Array; peer: SocketAddress }> {
  const buffer = new Uint8Array(2000);
  const { length, peer } = await socket.recvFrom(buffer);
  return { bytes: buffer.slice(0, length), peer: peer as SocketAddress };
}

/** Encodes a tunnel datagram. */
function tunnelDatagram(id: number | bigint, payload: string): DgramBuffer {
  const buffer = DgramBuffer.withCapacityAndHeadroom(2000, 16);
  buffer.putSlice(new TextEncoder().encode(payload));
  buffer.tryAddVarintPrefix(id);
  return buffer;
}

/** Decodes a tunnel datagram. */
function decode(bytes: Uint8Array): { id: number | bigint | undefined; payload: string } {
  const buffer = DgramBuffer.fromSlice(bytes);
  return { id: buffer.tryReadVarint(), payload: new TextDecoder().decode(buffer.asSlice()) };
}

describe("flowIdLength", () => {
  const MARGIN = 3;

  /** Places a datagram between other bytes, and returns the arguments for `flowIdLength`. */
  function embed(datagram: Uint8Array): [bytes: Uint8Array, offset: number, length: number] {
    const bytes = new Uint8Array(datagram.length + 2 * MARGIN + 8).fill(0xff);
    bytes.set(datagram, MARGIN);
    return [bytes, MARGIN, datagram.length];
  }

  test("returns the length of the varint, with and without a payload", () => {
    for (const id of [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2n ** 62n - 1n]) {
      for (const payload of ["payload", ""]) {
        const datagram = tunnelDatagram(id, payload).asSlice();
        expect(flowIdLength(...embed(datagram))).toBe(varintLength(id));
      }
    }
  });

  test("returns 0 for a truncated varint, whatever bytes follow the datagram", () => {
    for (const bytes of [[], [0x40], [0x80, 1, 2], [0xc0, 1, 2, 3, 4, 5, 6]]) {
      expect(flowIdLength(...embed(Uint8Array.from(bytes)))).toBe(0);
    }
  });
});

describe.each(BACKENDS)("an ingress on the %s backend", (backend) => {
  /** Opens an ingress, a socket as its egress, and a client. */
  async function openIngress(limits: Partial<typeof LIMITS & { firstFlowId: number }> = {}) {
    const egress = await bind(backend);
    const options = { listen: LOOPBACK, tunnel: hostAndPort(egress.localAddr), backend };
    const ingress = closeLater(await Ingress.open({ ...options, ...LIMITS, ...limits }));
    return { egress, ingress, client: await connect(ingress.localAddr, backend) };
  }

  test("assigns a flow ID to each client, and forwards replies by their flow ID", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 62 });
    const others = [await connect(ingress.localAddr, backend), await bind(backend)];
    const clients = [client, ...others];
    for (const [i, sender] of clients.entries()) {
      for (const payload of [`first of ${i}`, `second of ${i}`]) {
        await sender.sendTo(Buffer.from(payload), ingress.localAddr);
        const { bytes, peer } = await receive(egress);
        expect(decode(bytes)).toEqual({ id: 62 + i, payload });
        await egress.sendTo(tunnelDatagram(62 + i, `reply to ${payload}`), peer);
        expect(Buffer.from((await receive(sender)).bytes).toString()).toBe(`reply to ${payload}`);
      }
    }
    expect(ingress.snapshot().flows).toBe(3);
    expect(ingress.snapshot().flowCounters.opened).toBe(3);
  });

  test("counts and drops malformed datagrams and those with unknown flow IDs", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 5 });
    await client.send(Buffer.from("request"));
    const { peer } = await receive(egress);
    const malformed = [new Uint8Array(0), Uint8Array.of(0x40), Uint8Array.of(0xc0, 1, 2, 3)];
    for (const bytes of malformed) await egress.sendTo(bytes, peer);
    for (const id of [4, 6, 2n ** 62n - 1n]) await egress.sendTo(tunnelDatagram(id, "stray"), peer);
    await egress.sendTo(tunnelDatagram(5, "reply"), peer);
    expect(Buffer.from((await receive(client)).bytes).toString()).toBe("reply");
    const { drops } = ingress.snapshot();
    expect({ malformed: drops.malformed, unknownFlow: drops.unknownFlow }).toEqual({
      malformed: 3,
      unknownFlow: 3,
    });
  });

  test("accepts a flow ID that is encoded with more bytes than necessary", async () => {
    const { egress, client } = await openIngress({ firstFlowId: 5 });
    await client.send(Buffer.from("request"));
    const { peer } = await receive(egress);
    await egress.sendTo(Uint8Array.of(0x80, 0, 0, 5, 42), peer);
    expect([...(await receive(client)).bytes]).toEqual([42]);
  });

  test("forwards datagrams of 0 to 1500 bytes, and counts and drops longer ones", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 2 ** 30 });
    await client.send(new Uint8Array(1501).fill(1));
    await client.send(new Uint8Array(1500).fill(2));
    await client.send(new Uint8Array(0));
    const { bytes, peer } = await receive(egress);
    expect([bytes.length, bytes.at(-1)]).toEqual([1508, 2]);
    expect((await receive(egress)).bytes.length).toBe(8);
    expect(ingress.snapshot().drops.oversize).toBe(1);
    await egress.sendTo(bytes, peer);
    expect((await receive(client)).bytes).toEqual(new Uint8Array(1500).fill(2));
    await egress.sendTo(bytes.subarray(0, 8), peer);
    expect((await receive(client)).bytes.length).toBe(0);
  });

  test("refuses clients beyond the maximum, and counts their datagrams", async () => {
    const { egress, ingress, client } = await openIngress({ flowsMax: 1, firstFlowId: 7 });
    const refused = await connect(ingress.localAddr, backend);
    await client.send(Buffer.from("first"));
    await receive(egress);
    await refused.send(Buffer.from("refused"));
    await refused.send(Buffer.from("refused again"));
    await until(() => ingress.snapshot().drops.refused === 2);
    await client.send(Buffer.from("second"));
    expect(decode((await receive(egress)).bytes)).toEqual({ id: 7, payload: "second" });
    const { flows, flowCounters } = ingress.snapshot();
    expect({ flows, ...flowCounters }).toEqual({
      flows: 1,
      opened: 1,
      expired: 0,
      evicted: 0,
      ended: 0,
      moved: 0,
      refused: 2,
    });
  });

  test("assigns a new flow ID after the idle timeout, and drops replies to the old", async () => {
    const { egress, ingress, client } = await openIngress({ idleTimeoutMs: 40, firstFlowId: 0 });
    await client.send(Buffer.from("early"));
    const { bytes, peer } = await receive(egress);
    await until(() => ingress.snapshot().flows === 0);
    expect(ingress.snapshot().flowCounters.expired).toBe(1);
    await egress.sendTo(bytes, peer);
    await until(() => ingress.snapshot().drops.unknownFlow === 1);
    await client.send(Buffer.from("late"));
    expect(decode((await receive(egress)).bytes)).toEqual({ id: FLOW_SLOTS, payload: "late" });
  });

  test("counts ICMP errors until the egress is up, and then forwards datagrams", async () => {
    const port = await closedPort();
    const tunnel = { hostname: "127.0.0.1", port };
    const ingress = closeLater(
      await Ingress.open({ listen: LOOPBACK, tunnel, backend, ...LIMITS }),
    );
    const client = await connect(ingress.localAddr, backend);
    await until(() => {
      client.trySend(Buffer.from("before"));
      return ingress.snapshot().socketErrors > 1;
    });
    const egress = closeLater(await UdpSocket.bind({ ...tunnel, backend }));
    await client.send(Buffer.from("after"));
    let payload = "";
    while (payload !== "after") payload = decode((await receive(egress)).bytes).payload;
    expect(ingress.snapshot().flows).toBe(1);
  });
});

describe.each(BACKENDS)("an egress on the %s backend", (backend) => {
  /** Opens an egress, a socket as its upstream, and another as its ingress. */
  async function openEgress(limits: Partial<typeof LIMITS> = {}) {
    const upstream = await bind(backend);
    const options = { listen: LOOPBACK, upstream: hostAndPort(upstream.localAddr), backend };
    const egress = closeLater(await Egress.open({ ...options, ...LIMITS, ...limits }));
    return { upstream, egress, tunnel: await connect(egress.localAddr, backend) };
  }

  test("uses one upstream socket per flow, and returns replies with the flow ID", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const ids = [0, 63, 64, 2 ** 30 + 1, 2n ** 62n - 1n];
    const ports = new Set<number>();
    for (const id of ids) {
      for (const payload of ["first", "second"]) {
        await tunnel.send(tunnelDatagram(id, payload));
        const { bytes, peer } = await receive(upstream);
        expect(Buffer.from(bytes).toString()).toBe(payload);
        ports.add(peer.port);
        await upstream.sendTo(Buffer.from(`reply to ${payload}`), peer);
        const reply = decode((await receive(tunnel)).bytes);
        expect(reply).toEqual({ id, payload: `reply to ${payload}` });
      }
    }
    expect(ports.size).toBe(ids.length);
    expect(egress.snapshot().flows).toBe(ids.length);
  });

  test.each([5, 2 ** 40 + 5, 2n ** 61n + 5n])(
    "replaces a flow when flow ID %p comes in its slot, also if all flows are in use",
    async (id) => {
      const { upstream, egress, tunnel } = await openEgress({ flowsMax: 2 });
      const ports = new Set<number>();
      const ask = async (flowId: number | bigint) => {
        await tunnel.send(tunnelDatagram(flowId, "request"));
        const { peer } = await receive(upstream);
        ports.add(peer.port);
      };
      for (const flowId of [5 + FLOW_SLOTS, 6, id, 6, id]) await ask(flowId);
      const { flows, flowCounters, drops } = egress.snapshot();
      expect([ports.size, flows, drops.refused]).toEqual([3, 2, 0]);
      expect(flowCounters).toMatchObject({ opened: 3, evicted: 0, ended: 1 });
    },
  );

  test("separates flows of two ingresses that have the same flow ID", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const other = await connect(egress.localAddr, backend);
    await tunnel.send(tunnelDatagram(1, "first"));
    const first = await receive(upstream);
    await other.send(tunnelDatagram(1, "second"));
    const second = await receive(upstream);
    expect(first.peer.equals(second.peer)).toBe(false);
    await upstream.sendTo(Buffer.from("to second"), second.peer);
    await upstream.sendTo(Buffer.from("to first"), first.peer);
    expect(decode((await receive(tunnel)).bytes)).toEqual({ id: 1, payload: "to first" });
    expect(decode((await receive(other)).bytes)).toEqual({ id: 1, payload: "to second" });
  });

  test("queues datagrams until the upstream socket is open, and sends them in order", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const payloads = Array.from({ length: 50 }, (_, i) => `early ${i}`);
    await tunnel.sendMany(payloads.map((payload) => tunnelDatagram(9, payload)));
    for (const payload of payloads) {
      expect(Buffer.from((await receive(upstream)).bytes).toString()).toBe(payload);
    }
    expect(egress.snapshot().drops.opening).toBe(0);
  });

  test("counts and drops malformed datagrams, and opens no flow for them", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const malformed = [new Uint8Array(0), Uint8Array.of(0x7f), Uint8Array.of(0xff, 1, 2)];
    for (const bytes of malformed) await tunnel.send(bytes);
    await tunnel.send(tunnelDatagram(3, ""));
    expect((await receive(upstream)).bytes.length).toBe(0);
    expect([egress.snapshot().drops.malformed, egress.snapshot().flows]).toEqual([3, 1]);
  });

  test("refuses flows beyond the maximum, and counts their datagrams", async () => {
    const { upstream, egress, tunnel } = await openEgress({ flowsMax: 2 });
    for (const id of [1, 2, 3, 3, 1]) await tunnel.send(tunnelDatagram(id, `of ${id}`));
    const payloads = [await receive(upstream), await receive(upstream), await receive(upstream)];
    const texts = payloads.map(({ bytes }) => Buffer.from(bytes).toString());
    expect(texts.toSorted()).toEqual(["of 1", "of 1", "of 2"]);
    expect([egress.snapshot().flows, egress.snapshot().drops.refused]).toEqual([2, 2]);
  });

  test("closes the socket of an idle flow, and opens another for its next datagram", async () => {
    const { upstream, egress, tunnel } = await openEgress({ idleTimeoutMs: 40 });
    await tunnel.send(tunnelDatagram(1, "early"));
    await receive(upstream);
    await until(() => egress.snapshot().flows === 0);
    const { flowCounters, toUpstream } = egress.snapshot();
    expect([flowCounters.expired, toUpstream.datagrams]).toEqual([1, 1]);
    await tunnel.send(tunnelDatagram(1, "late"));
    const late = await receive(upstream);
    expect(Buffer.from(late.bytes).toString()).toBe("late");
    await upstream.sendTo(Buffer.from("reply"), late.peer);
    expect(decode((await receive(tunnel)).bytes)).toEqual({ id: 1, payload: "reply" });
    expect(egress.snapshot().toUpstream.datagrams).toBe(2);
  });

  test("does not expire a flow that has requests only", async () => {
    const idleTimeoutMs = 300;
    // If the machine stalls for half of the timeout, the attempt is inconclusive and repeated.
    for (let stalledMs = idleTimeoutMs; stalledMs > idleTimeoutMs / 2; ) {
      const { upstream, egress, tunnel } = await openEgress({ idleTimeoutMs });
      const startMs = performance.now();
      stalledMs = 0;
      for (let beforeMs = startMs, nowMs = startMs; nowMs - startMs < 3 * idleTimeoutMs; ) {
        await tunnel.send(tunnelDatagram(1, "request"));
        await receive(upstream);
        await Bun.sleep(10);
        beforeMs = nowMs;
        nowMs = performance.now();
        stalledMs = Math.max(stalledMs, nowMs - beforeMs);
      }
      if (stalledMs <= idleTimeoutMs / 2) expect(egress.snapshot().flowCounters.expired).toBe(0);
    }
  });

  test("expires a flow that has replies only, and counts those after the timeout", async () => {
    const { upstream, egress, tunnel } = await openEgress({ idleTimeoutMs: 100 });
    await tunnel.send(tunnelDatagram(1, "request"));
    const { peer } = await receive(upstream);
    await upstream.sendTo(Buffer.from("reply"), peer);
    expect(decode((await receive(tunnel)).bytes)).toEqual({ id: 1, payload: "reply" });
    await until(() => {
      upstream.trySendTo(Buffer.from("reply"), peer);
      return egress.snapshot().drops.stale > 0;
    });
    await until(() => {
      upstream.trySendTo(Buffer.from("reply"), peer);
      return egress.snapshot().flowCounters.expired === 1;
    });
  });

  test("counts ICMP errors until the upstream is up, and keeps the flow", async () => {
    const upstream = { hostname: "127.0.0.1", port: await closedPort() };
    const egress = closeLater(
      await Egress.open({ listen: LOOPBACK, upstream, backend, ...LIMITS }),
    );
    const tunnel = await connect(egress.localAddr, backend);
    await until(() => {
      tunnel.trySend(tunnelDatagram(1, "before"));
      return egress.snapshot().socketErrors > 1;
    });
    const server = closeLater(await UdpSocket.bind({ ...upstream, backend }));
    await tunnel.send(tunnelDatagram(1, "after"));
    for (;;) {
      const { bytes, peer } = await receive(server);
      if (Buffer.from(bytes).toString() !== "after") continue;
      await server.sendTo(Buffer.from("reply"), peer);
      break;
    }
    expect(decode((await receive(tunnel)).bytes)).toEqual({ id: 1, payload: "reply" });
    expect(egress.snapshot().flowCounters.opened).toBe(1);
  });

  test("counts and drops replies longer than 1500 bytes, and forwards the others", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    await tunnel.send(tunnelDatagram(1, "request".repeat(100)));
    const { peer } = await receive(upstream);
    const replies = [1, 1501, 1500, 1501, 2].map((length) => new Uint8Array(length).fill(length));
    await upstream.sendMany(replies, { to: peer });
    for (const length of [1, 1500, 2]) {
      const { bytes } = await receive(tunnel);
      expect([bytes[0], bytes.length, bytes.at(-1)]).toEqual([1, 1 + length, length & 255]);
    }
    expect(egress.snapshot().drops.oversize).toBe(2);
  });
});

describe.each(BACKENDS)("ingress and egress on the %s backend", (backend) => {
  test("return every reply under load unaltered to the right client", async () => {
    const origin = closeLater(await Origin.open({ listen: LOOPBACK, backend }));
    const upstream = hostAndPort(origin.localAddr);
    const egress = closeLater(
      await Egress.open({ listen: LOOPBACK, upstream, backend, ...LIMITS }),
    );
    const tunnel = hostAndPort(egress.localAddr);
    const ingress = closeLater(
      await Ingress.open({ listen: LOOPBACK, tunnel, backend, ...LIMITS }),
    );
    const target = hostAndPort(ingress.localAddr);
    const report = await runLoad({ target, clients: 20, durationMs: 300, backend });
    expect(hasPassed(report)).toBe(true);
    expect([report.altered, report.misdelivered, report.duplicated]).toEqual([0, 0, 0]);
    expect(report.replies + report.lost).toBe(report.requests);
    expect([ingress.snapshot().flows, egress.snapshot().flows]).toEqual([20, 20]);
    // Datagrams may be lost in receive buffers that are full, including those of the clients.
    expect(ingress.snapshot().toClients.datagrams).toBeGreaterThanOrEqual(report.replies);
    expect(ingress.snapshot().socketErrors + egress.snapshot().socketErrors).toBe(0);
  });
});
