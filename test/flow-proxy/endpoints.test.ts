/** The flow proxy's halves, in this process, over real sockets. */

import { afterEach, describe, expect, test } from "bun:test";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { flowIdLength } from "../../examples/flow-proxy/flow-id.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { isIntact, runLoad } from "../../examples/flow-proxy/load.ts";
import { Origin } from "../../examples/flow-proxy/origin.ts";
import {
  type Backend,
  DgramBuffer,
  encodeVarint,
  type HostAndPort,
  type SocketAddress,
  UdpSocket,
  varintLength,
} from "../../lib/index.ts";
import { BACKENDS, closedPort, until } from "../tools/sockets.ts";

const LOOPBACK: HostAndPort = { hostname: "127.0.0.1", port: 0 };
const LIMITS = { flowsMax: 100, idleTimeoutMs: 30_000 };

const opened: { close(): void }[] = [];

function keep<T extends { close(): void }>(closable: T): T {
  opened.push(closable);
  return closable;
}

afterEach(() => {
  for (const closable of opened.splice(0)) closable.close();
});

function at({ address, port }: SocketAddress): HostAndPort {
  return { hostname: address, port };
}

async function bind(backend: Backend): Promise<UdpSocket> {
  return keep(await UdpSocket.bind({ ...LOOPBACK, backend }));
}

async function connect(to: SocketAddress, backend: Backend): Promise<UdpSocket> {
  return keep(await UdpSocket.connect(at(to), { backend }));
}

/** The next datagram and who sent it. */
async function next(socket: UdpSocket): Promise<{ bytes: Uint8Array; peer: SocketAddress }> {
  const buffer = new Uint8Array(2000);
  const { length, peer } = await socket.recvFrom(buffer);
  return { bytes: buffer.slice(0, length), peer: peer as SocketAddress };
}

function withFlowId(id: number | bigint, payload: string): DgramBuffer {
  const buffer = DgramBuffer.withCapacityAndHeadroom(2000, 16);
  buffer.putSlice(new TextEncoder().encode(payload));
  buffer.tryAddVarintPrefix(id);
  return buffer;
}

function read(bytes: Uint8Array): { id: number | bigint | undefined; payload: string } {
  const buffer = DgramBuffer.fromSlice(bytes);
  return { id: buffer.tryReadVarint(), payload: new TextDecoder().decode(buffer.asSlice()) };
}

describe("a flow ID", () => {
  const AROUND = 3;

  /** A datagram among others: where it is. */
  function among(datagram: Uint8Array): [bytes: Uint8Array, offset: number, length: number] {
    const bytes = new Uint8Array(datagram.length + 2 * AROUND + 8).fill(0xff);
    bytes.set(datagram, AROUND);
    return [bytes, AROUND, datagram.length];
  }

  test("is as long as its first byte says, with and without a datagram behind it", () => {
    for (const id of [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2n ** 62n - 1n]) {
      for (const payload of ["payload", ""]) {
        const datagram = withFlowId(id, payload).asSlice();
        expect(flowIdLength(...among(datagram))).toBe(varintLength(id));
      }
    }
  });

  test("is absent when it is cut off, whatever is behind the datagram", () => {
    for (const bytes of [[], [0x40], [0x80, 1, 2], [0xc0, 1, 2, 3, 4, 5, 6]]) {
      expect(flowIdLength(...among(Uint8Array.from(bytes)))).toBe(0);
    }
  });
});

describe.each(BACKENDS)("the ingress, on the %s backend", (backend) => {
  /** An ingress whose tunnel ends at a bare socket, and a client of it. */
  async function openIngress(limits: Partial<typeof LIMITS & { firstFlowId: number }> = {}) {
    const egress = await bind(backend);
    const options = { listen: LOOPBACK, tunnel: at(egress.localAddr), backend };
    const ingress = keep(await Ingress.open({ ...options, ...LIMITS, ...limits }));
    return { egress, ingress, client: await connect(ingress.localAddr, backend) };
  }

  test("gives each client a flow ID and sends answers to the client of theirs", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 62 });
    const others = [await connect(ingress.localAddr, backend), await bind(backend)];
    const clients = [client, ...others];
    for (const [i, each] of clients.entries()) {
      for (const payload of [`first of ${i}`, `second of ${i}`]) {
        await each.sendTo(Buffer.from(payload), ingress.localAddr);
        const { bytes, peer } = await next(egress);
        expect(read(bytes)).toEqual({ id: 62 + i, payload });
        await egress.sendTo(withFlowId(62 + i, `answer to ${payload}`), peer);
        expect(Buffer.from((await next(each)).bytes).toString()).toBe(`answer to ${payload}`);
      }
    }
    expect(ingress.snapshot().flows).toBe(3);
    expect(ingress.snapshot().flowCounts.opened).toBe(3);
  });

  test("counts and drops malformed prefixes and unknown flow IDs, and goes on", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 5 });
    await client.send(Buffer.from("question"));
    const { peer } = await next(egress);
    const malformed = [new Uint8Array(0), Uint8Array.of(0x40), Uint8Array.of(0xc0, 1, 2, 3)];
    for (const bytes of malformed) await egress.sendTo(bytes, peer);
    for (const id of [4, 6, 2n ** 62n - 1n]) await egress.sendTo(withFlowId(id, "stray"), peer);
    await egress.sendTo(withFlowId(5, "answer"), peer);
    expect(Buffer.from((await next(client)).bytes).toString()).toBe("answer");
    const { drops } = ingress.snapshot();
    expect({ malformed: drops.malformed, unknownFlow: drops.unknownFlow }).toEqual({
      malformed: 3,
      unknownFlow: 3,
    });
  });

  test("takes a flow ID that is encoded longer than needed", async () => {
    const { egress, client } = await openIngress({ firstFlowId: 5 });
    await client.send(Buffer.from("question"));
    const { peer } = await next(egress);
    await egress.sendTo(Uint8Array.of(0x80, 0, 0, 5, 42), peer);
    expect([...(await next(client)).bytes]).toEqual([42]);
  });

  test("carries empty datagrams and 1500 bytes; longer ones are counted and dropped", async () => {
    const { egress, ingress, client } = await openIngress({ firstFlowId: 2 ** 30 });
    await client.send(new Uint8Array(1501).fill(1));
    await client.send(new Uint8Array(1500).fill(2));
    await client.send(new Uint8Array(0));
    const { bytes, peer } = await next(egress);
    expect([bytes.length, bytes.at(-1)]).toEqual([1508, 2]);
    expect((await next(egress)).bytes.length).toBe(8);
    expect(ingress.snapshot().drops.oversize).toBe(1);
    await egress.sendTo(bytes, peer);
    expect((await next(client)).bytes).toEqual(new Uint8Array(1500).fill(2));
    await egress.sendTo(bytes.subarray(0, 8), peer);
    expect((await next(client)).bytes.length).toBe(0);
  });

  test("refuses clients beyond its bound, and counts what they sent", async () => {
    const { egress, ingress, client } = await openIngress({ flowsMax: 1, firstFlowId: 7 });
    const refused = await connect(ingress.localAddr, backend);
    await client.send(Buffer.from("first"));
    await next(egress);
    await refused.send(Buffer.from("refused"));
    await refused.send(Buffer.from("refused again"));
    await until(() => ingress.snapshot().drops.refused === 2);
    await client.send(Buffer.from("second"));
    expect(read((await next(egress)).bytes)).toEqual({ id: 7, payload: "second" });
    const { flows, flowCounts } = ingress.snapshot();
    expect({ flows, ...flowCounts }).toEqual({
      flows: 1,
      opened: 1,
      expired: 0,
      evicted: 0,
      refused: 2,
    });
  });

  test("forgets an idle client: it gets another ID, and answers to the old one are dropped", async () => {
    const { egress, ingress, client } = await openIngress({ idleTimeoutMs: 40, firstFlowId: 0 });
    await client.send(Buffer.from("early"));
    const { bytes, peer } = await next(egress);
    await until(() => ingress.snapshot().flows === 0);
    expect(ingress.snapshot().flowCounts.expired).toBe(1);
    await egress.sendTo(bytes, peer);
    await until(() => ingress.snapshot().drops.unknownFlow === 1);
    await client.send(Buffer.from("late"));
    expect(read((await next(egress)).bytes)).toEqual({ id: 1, payload: "late" });
  });

  test("counts the errors of a tunnel whose end is closed, and goes on when it is open", async () => {
    const port = await closedPort();
    const tunnel = { hostname: "127.0.0.1", port };
    const ingress = keep(await Ingress.open({ listen: LOOPBACK, tunnel, backend, ...LIMITS }));
    const client = await connect(ingress.localAddr, backend);
    await until(() => {
      client.trySend(Buffer.from("lost"));
      return ingress.snapshot().socketErrors > 1;
    });
    const egress = keep(await UdpSocket.bind({ ...tunnel, backend }));
    await client.send(Buffer.from("heard"));
    let heard = "";
    while (heard !== "heard") heard = read((await next(egress)).bytes).payload;
    expect(ingress.snapshot().flows).toBe(1);
  });
});

describe.each(BACKENDS)("the egress, on the %s backend", (backend) => {
  /** An egress before a bare upstream socket, and a tunnel into it. */
  async function openEgress(limits: Partial<typeof LIMITS> = {}) {
    const upstream = await bind(backend);
    const options = { listen: LOOPBACK, upstream: at(upstream.localAddr), backend };
    const egress = keep(await Egress.open({ ...options, ...LIMITS, ...limits }));
    return { upstream, egress, tunnel: await connect(egress.localAddr, backend) };
  }

  test("keeps one upstream socket a flow, and answers with the flow's ID", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const ids = [0, 63, 64, 2 ** 30, 2n ** 62n - 1n];
    const ports = new Set<number>();
    for (const id of ids) {
      for (const payload of ["first", "second"]) {
        await tunnel.send(withFlowId(id, payload));
        const { bytes, peer } = await next(upstream);
        expect(Buffer.from(bytes).toString()).toBe(payload);
        ports.add(peer.port);
        await upstream.sendTo(Buffer.from(`answer to ${payload}`), peer);
        const answer = read((await next(tunnel)).bytes);
        expect(answer).toEqual({ id, payload: `answer to ${payload}` });
      }
    }
    expect(ports.size).toBe(ids.length);
    expect(egress.snapshot().flows).toBe(ids.length);
  });

  test("keeps flows of two ingresses apart, even with one ID", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const other = await connect(egress.localAddr, backend);
    await tunnel.send(withFlowId(1, "mine"));
    const mine = await next(upstream);
    await other.send(withFlowId(1, "yours"));
    const yours = await next(upstream);
    expect(mine.peer.equals(yours.peer)).toBe(false);
    await upstream.sendTo(Buffer.from("to you"), yours.peer);
    await upstream.sendTo(Buffer.from("to me"), mine.peer);
    expect(read((await next(tunnel)).bytes)).toEqual({ id: 1, payload: "to me" });
    expect(read((await next(other)).bytes)).toEqual({ id: 1, payload: "to you" });
  });

  test("sends what came while the upstream socket was opening, in order", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const payloads = Array.from({ length: 50 }, (_, i) => `early ${i}`);
    await tunnel.sendMany(payloads.map((payload) => withFlowId(9, payload)));
    for (const payload of payloads) {
      expect(Buffer.from((await next(upstream)).bytes).toString()).toBe(payload);
    }
    expect(egress.snapshot().drops.opening).toBe(0);
  });

  test("counts and drops malformed prefixes, and opens no flow for them", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    const malformed = [new Uint8Array(0), Uint8Array.of(0x7f), Uint8Array.of(0xff, 1, 2)];
    for (const bytes of malformed) await tunnel.send(bytes);
    await tunnel.send(encodedOnly(3));
    expect((await next(upstream)).bytes.length).toBe(0);
    expect([egress.snapshot().drops.malformed, egress.snapshot().flows]).toEqual([3, 1]);
  });

  test("refuses flows beyond its bound, and counts what they sent", async () => {
    const { upstream, egress, tunnel } = await openEgress({ flowsMax: 2 });
    for (const id of [1, 2, 3, 3, 1]) await tunnel.send(withFlowId(id, `of ${id}`));
    const payloads = [await next(upstream), await next(upstream), await next(upstream)];
    const texts = payloads.map(({ bytes }) => Buffer.from(bytes).toString());
    expect(texts.toSorted()).toEqual(["of 1", "of 1", "of 2"]);
    expect([egress.snapshot().flows, egress.snapshot().drops.refused]).toEqual([2, 2]);
  });

  test("closes the sockets of idle flows, and opens new ones when they come again", async () => {
    const { upstream, egress, tunnel } = await openEgress({ idleTimeoutMs: 40 });
    await tunnel.send(withFlowId(1, "early"));
    await next(upstream);
    await until(() => egress.snapshot().flows === 0);
    const { flowCounts, up } = egress.snapshot();
    expect([flowCounts.expired, up.datagrams]).toEqual([1, 1]);
    await tunnel.send(withFlowId(1, "late"));
    const late = await next(upstream);
    expect(Buffer.from(late.bytes).toString()).toBe("late");
    await upstream.sendTo(Buffer.from("answer"), late.peer);
    expect(read((await next(tunnel)).bytes)).toEqual({ id: 1, payload: "answer" });
    expect(egress.snapshot().up.datagrams).toBe(2);
  });

  test("keeps a flow that has answers only", async () => {
    const idleTimeoutMs = 300;
    // A machine that stalls for half the timeout proves nothing, and gets another try.
    for (let stalledMs = idleTimeoutMs; stalledMs > idleTimeoutMs / 2; ) {
      const { upstream, egress, tunnel } = await openEgress({ idleTimeoutMs });
      await tunnel.send(withFlowId(1, "question"));
      const { peer } = await next(upstream);
      const startMs = performance.now();
      stalledMs = 0;
      for (let beforeMs = startMs, nowMs = startMs; nowMs - startMs < 3 * idleTimeoutMs; ) {
        await upstream.sendTo(Buffer.from("answer"), peer);
        expect(read((await next(tunnel)).bytes)).toEqual({ id: 1, payload: "answer" });
        await Bun.sleep(10);
        beforeMs = nowMs;
        nowMs = performance.now();
        stalledMs = Math.max(stalledMs, nowMs - beforeMs);
      }
      if (stalledMs <= idleTimeoutMs / 2) expect(egress.snapshot().flowCounts.expired).toBe(0);
    }
  });

  test("counts the errors of a closed upstream port; the flow goes on when it is open", async () => {
    const upstream = { hostname: "127.0.0.1", port: await closedPort() };
    const egress = keep(await Egress.open({ listen: LOOPBACK, upstream, backend, ...LIMITS }));
    const tunnel = await connect(egress.localAddr, backend);
    await until(() => {
      tunnel.trySend(withFlowId(1, "lost"));
      return egress.snapshot().socketErrors > 1;
    });
    const server = keep(await UdpSocket.bind({ ...upstream, backend }));
    await tunnel.send(withFlowId(1, "heard"));
    for (;;) {
      const { bytes, peer } = await next(server);
      if (Buffer.from(bytes).toString() !== "heard") continue;
      await server.sendTo(Buffer.from("answer"), peer);
      break;
    }
    expect(read((await next(tunnel)).bytes)).toEqual({ id: 1, payload: "answer" });
    expect(egress.snapshot().flowCounts.opened).toBe(1);
  });

  test("counts and drops answers longer than 1500 bytes, and keeps those around them", async () => {
    const { upstream, egress, tunnel } = await openEgress();
    await tunnel.send(withFlowId(1, "question"));
    const { peer } = await next(upstream);
    const answers = [1, 1501, 1500, 1501, 2].map((length) => new Uint8Array(length).fill(length));
    await upstream.sendMany(answers, { to: peer });
    for (const length of [1, 1500, 2]) {
      const { bytes } = await next(tunnel);
      expect([bytes[0], bytes.length, bytes.at(-1)]).toEqual([1, 1 + length, length & 255]);
    }
    expect(egress.snapshot().drops.oversize).toBe(2);
  });
});

function encodedOnly(id: number): Uint8Array {
  const bytes = new Uint8Array(8);
  return bytes.subarray(0, encodeVarint(id, bytes));
}

describe.each(BACKENDS)("both halves with load, on the %s backend", (backend) => {
  test("bring every answer back unaltered to the right client", async () => {
    const origin = keep(await Origin.open({ listen: LOOPBACK, backend }));
    const upstream = at(origin.localAddr);
    const egress = keep(await Egress.open({ listen: LOOPBACK, upstream, backend, ...LIMITS }));
    const tunnel = at(egress.localAddr);
    const ingress = keep(await Ingress.open({ listen: LOOPBACK, tunnel, backend, ...LIMITS }));
    const target = at(ingress.localAddr);
    const report = await runLoad({ target, clients: 20, durationMs: 300, backend });
    expect(isIntact(report)).toBe(true);
    expect([report.altered, report.misdelivered, report.duplicated]).toEqual([0, 0, 0]);
    expect(report.answered + report.lost).toBe(report.sent);
    expect([ingress.snapshot().flows, egress.snapshot().flows]).toEqual([20, 20]);
    // What was lost, if anything, was lost by full kernel buffers between the sockets.
    expect(ingress.snapshot().down.datagrams).toBeGreaterThanOrEqual(report.answered);
    expect(ingress.snapshot().socketErrors + egress.snapshot().socketErrors).toBe(0);
  });
});
