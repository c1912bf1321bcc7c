/**
 * Flows whose client, or whose ingress, comes from another address: the upstream sees the same source
 * port, and nobody else gets the replies.
 */

import { describe, expect, test } from "bun:test";
import { ConnectionIds } from "../../examples/flow-proxy/connection-ids.ts";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { SILENCE_MS } from "../../examples/flow-proxy/rebinding.ts";
import { SECRET_FLOW_ID_MIN } from "../../examples/flow-proxy/tunnel-datagram.ts";
import { download } from "../../examples/quiche/client.ts";
import { ID_BYTES as CLIENT_ID_BYTES } from "../../examples/quiche/router.ts";
import { encodeVarint, SocketAddress } from "../../lib/index.ts";
import { SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import { openClient, openServer, skipReason } from "../quiche/endpoints.ts";
import { Relay } from "../quiche/relay.ts";
import {
  addressOf,
  clientOf,
  EGRESS,
  exchange,
  IDLE_TIMEOUT_MS,
  INGRESS_OUT,
  ORIGIN,
  openProxy,
  received,
  type SimulatedProxy,
} from "./simulated-proxy.ts";

const ID_BYTES = 8;
const GRACE_MS = 20_000;
const HOME = "10.1.0.1";
const ATTACKER = "10.6.6.6";
const NAT = "203.0.113.9";

/** A packet with a short header, with a connection ID of `ID_BYTES` bytes. */
function packet(id: number, bytes = 100): Uint8Array<ArrayBuffer> {
  const datagram = new Uint8Array(new ArrayBuffer(bytes)).fill(7);
  datagram[0] = 0x40;
  datagram.fill(id, 1, 1 + ID_BYTES);
  return datagram;
}

/** Returns the source ports that the origin has seen, in order, each once. */
function upstreamPorts(net: SimNetwork): Set<number> {
  const ports = new Set<number>();
  net.observe(({ kind, datagram: { from, to } }) => {
    if (kind === "receive" && to.equals(addressOf(ORIGIN))) ports.add(from.port);
  });
  return ports;
}

/** Runs a test on a simulated network with both halves of the proxy. */
async function simulate(
  options: Parameters<typeof openProxy>[1],
  run: (net: SimNetwork, proxy: SimulatedProxy, ports: Set<number>) => Promise<void>,
): Promise<void> {
  const net = new SimNetwork({ seed: 1 });
  const ports = upstreamPorts(net);
  await net.run(async () => {
    const proxy = await openProxy(net, options);
    await run(net, proxy, ports);
    proxy.close();
  });
}

/** Sends a packet, and returns the lengths of the replies that arrive within 10 ms. */
async function ask(net: SimNetwork, socket: SimSocket, datagram: Uint8Array): Promise<number[]> {
  await socket.send(datagram);
  await net.clock.sleep(10);
  return received(socket);
}

const BY_ID = { connectionIdBytes: ID_BYTES };

describe("a client for which a NAT chooses another port", () => {
  test("keeps its upstream port if it was silent before", async () => {
    await simulate(BY_ID, async (net, { ingress, egress }, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const client = clientOf(net, HOME);
      expect(await ask(net, client, packet(1))).toEqual([100]);
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      expect(await ask(net, client, packet(1))).toEqual([100]);
      expect(await ask(net, client, packet(1))).toEqual([100]);
      expect(ports.size).toBe(1);
      expect(ingress.snapshot().flowCounters).toMatchObject({ opened: 1, moved: 1 });
      expect([ingress.snapshot().flows, egress.snapshot().flows]).toEqual([1, 1]);
    });
  });

  test("keeps its upstream port in the middle of a transfer, and gets replies again soon", async () => {
    await simulate(BY_ID, async (net, { ingress }, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const client = clientOf(net, HOME);
      let asked = 0;
      let replies = 0;
      const askUntil = async (isDone: () => boolean) => {
        while (!isDone() && asked++ < 200) replies += (await ask(net, client, packet(1))).length;
      };
      await askUntil(() => asked === 20);
      expect(replies).toBe(asked);
      nat.rebind();
      const reboundMs = net.now;
      await askUntil(() => ingress.snapshot().flowCounters.moved === 1);
      expect(net.now - reboundMs).toBeWithin(SILENCE_MS, SILENCE_MS + 50);
      const repliesBefore = replies;
      await askUntil(() => replies === repliesBefore + 50);
      expect(ports.size).toBe(1);
      expect(asked).toBeLessThan(200);
    });
  });

  test("keeps it with a new connection ID that it has used before", async () => {
    await simulate(BY_ID, async (net, _proxy, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const client = clientOf(net, HOME);
      await ask(net, client, packet(1));
      await ask(net, client, packet(2));
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      expect(await ask(net, client, packet(2))).toEqual([100]);
      expect(ports.size).toBe(1);
      // The former ID belongs to no flow any more.
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      expect(await ask(net, client, packet(1))).toEqual([100]);
      expect(ports.size).toBe(2);
    });
  });

  test.each([
    { name: "without the option", options: {}, datagram: packet(1) },
    { name: "with a long header", options: BY_ID, datagram: packet(1).fill(0xc0, 0, 1) },
    { name: "with a datagram that is too short", options: BY_ID, datagram: packet(1, 20) },
  ])("gets another upstream port $name", async ({ options, datagram }) => {
    await simulate(options, async (net, { ingress }, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const client = clientOf(net, HOME);
      await ask(net, client, datagram);
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      expect(await ask(net, client, datagram)).toEqual([datagram.length]);
      expect(ports.size).toBe(2);
      expect(ingress.snapshot().flowCounters).toMatchObject({ opened: 2, moved: 0 });
    });
  });

  test("counts as a flow of the host of its new address", async () => {
    await simulate(BY_ID, async (net, { ingress }) => {
      const [home, other] = [clientOf(net, HOME), clientOf(net, "10.1.0.2")];
      await ask(net, home, packet(1));
      await net.clock.sleep(SILENCE_MS);
      expect(await ask(net, other, packet(1))).toEqual([100]);
      expect(ingress.snapshot().flowCounters.moved).toBe(1);
      // Both hosts can still open flows, and all expire.
      await exchange(net, home);
      expect(ingress.snapshot().flows).toBe(2);
      await net.clock.sleep(IDLE_TIMEOUT_MS + 2000);
      expect(ingress.snapshot().flows).toBe(0);
    });
  });
});

describe("an attacker that repeats packets of a client from its own address", () => {
  test("gets no reply while the client sends", async () => {
    await simulate(BY_ID, async (net, { ingress }, ports) => {
      const [client, attacker] = [clientOf(net, HOME), clientOf(net, ATTACKER)];
      for (let i = 0; i < 50; i++) {
        expect(await ask(net, client, packet(1))).toContain(100);
        expect(await ask(net, attacker, packet(1))).toEqual([]);
        await net.clock.sleep(SILENCE_MS - 100);
      }
      expect(ports.size).toBe(1);
      expect(ingress.snapshot().flowCounters).toMatchObject({ opened: 1, moved: 0 });
    });
  });

  test("loses the flow again with the next packet of a client that was silent", async () => {
    await simulate(BY_ID, async (net, { ingress }) => {
      const [client, attacker] = [clientOf(net, HOME), clientOf(net, ATTACKER)];
      expect(await ask(net, client, packet(1))).toEqual([100]);
      await net.clock.sleep(SILENCE_MS);
      expect(await ask(net, attacker, packet(1))).toEqual([100]);
      // The replies to the attacker's packets go to the client from now on.
      for (let i = 0; i < 20; i++) {
        expect(await ask(net, client, packet(1))).toContain(100);
        expect(await ask(net, attacker, packet(1))).toEqual([]);
      }
      expect(ingress.snapshot().flowCounters).toMatchObject({ opened: 1, moved: 2 });
    });
  });

  test("that forges the address of a victim draws few replies for it", async () => {
    await simulate({ ...BY_ID, replies: 50, bytes: 1200 }, async (net, { ingress }) => {
      const [client, victim] = [clientOf(net, HOME), clientOf(net, "10.8.8.8")];
      for (let i = 0; i < 3; i++) await ask(net, client, packet(1, 1200));
      expect((await ask(net, client, packet(1))).length).toBe(50);
      await net.clock.sleep(SILENCE_MS);
      expect((await ask(net, victim, packet(1))).length).toBe(3);
      expect(ingress.snapshot().drops.amplified).toBeGreaterThan(0);
    });
  });

  test("cannot take the connection ID of a client by having a flow of its own", async () => {
    await simulate(BY_ID, async (net, _proxy, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const [client, attacker] = [clientOf(net, HOME), clientOf(net, ATTACKER)];
      await ask(net, client, packet(1));
      await ask(net, attacker, packet(2));
      await ask(net, attacker, packet(1));
      const [home] = ports;
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      const before = ports.size;
      expect(await ask(net, client, packet(1))).toEqual([100]);
      expect([ports.size, [...ports][0]]).toEqual([before, home as number]);
      expect(received(attacker)).toEqual([]);
    });
  });
});

describe("a client that is idle for longer than the timeout", () => {
  test("keeps its upstream port within the grace period, and gets no replies meanwhile", async () => {
    await simulate({ graceMs: GRACE_MS }, async (net, { ingress, egress, origin }, ports) => {
      const client = clientOf(net, HOME);
      await exchange(net, client);
      await exchange(net, client);
      await net.clock.sleep(IDLE_TIMEOUT_MS + GRACE_MS - 2000);
      const [port] = ports;
      await origin.sendTo(new Uint8Array(10), SocketAddress.ip(EGRESS.hostname, port as number));
      await net.clock.sleep(10);
      expect([received(client), egress.snapshot().drops.stale]).toEqual([[], 1]);
      expect(await exchange(net, client)).toEqual([100]);
      expect(ports.size).toBe(1);
      expect([ingress.snapshot().flows, ingress.snapshot().flowCounters.opened]).toEqual([1, 1]);
    });
  });

  test("gets another upstream port after the grace period", async () => {
    await simulate({ graceMs: GRACE_MS }, async (net, { ingress, egress }, ports) => {
      const client = clientOf(net, HOME);
      await exchange(net, client);
      await net.clock.sleep(IDLE_TIMEOUT_MS + GRACE_MS + 2000);
      expect([ingress.snapshot().flows, egress.snapshot().flows]).toEqual([0, 0]);
      expect(await exchange(net, client)).toEqual([100]);
      expect(ports.size).toBe(2);
    });
  });

  test("keeps its upstream port if a NAT has chosen another port meanwhile", async () => {
    await simulate({ ...BY_ID, graceMs: GRACE_MS }, async (net, _proxy, ports) => {
      const nat = net.nat({ outside: NAT, inside: [HOME] });
      const client = clientOf(net, HOME);
      await ask(net, client, packet(1));
      await net.clock.sleep(IDLE_TIMEOUT_MS + GRACE_MS / 2);
      nat.rebind();
      expect(await ask(net, client, packet(1))).toEqual([100]);
      expect(ports.size).toBe(1);
    });
  });
});

/** Sends tunnel datagrams of flow `id` to the egress from `host`. */
function forgedIngress(net: SimNetwork, host: string, id: number) {
  const socket = net.bind(host, 0, { connect: addressOf(EGRESS) });
  const prefix = new Uint8Array(8);
  const length = encodeVarint(id, prefix);
  const datagram = Uint8Array.of(...prefix.subarray(0, length), ...new Uint8Array(100));
  return { socket, ask: () => ask(net, socket, datagram) };
}

describe("a tunnel for which a NAT chooses another port", () => {
  const TUNNEL_NAT = "203.0.113.8";

  test.each([
    { name: "were silent before", silenceMs: SILENCE_MS },
    { name: "are in use", silenceMs: 0 },
  ])("flows that $name keep their upstream ports", async ({ silenceMs }) => {
    await simulate({}, async (net, { ingress, egress }, ports) => {
      const nat = net.nat({ outside: TUNNEL_NAT, inside: [INGRESS_OUT] });
      const clients = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map((host) => clientOf(net, host));
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      await net.clock.sleep(silenceMs);
      nat.rebind();
      for (let i = 0; i < 20; i++) for (const client of clients) await exchange(net, client);
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      expect(ports.size).toBe(3);
      expect(egress.snapshot().flowCounters).toMatchObject({ opened: 3, moved: 3 });
      expect([ingress.snapshot().flows, egress.snapshot().flows]).toEqual([3, 3]);
    });
  });

  test("flows with IDs that can be guessed are opened again", async () => {
    const options = { firstFlowId: SECRET_FLOW_ID_MIN - 1 };
    await simulate(options, async (net, { egress }, ports) => {
      const nat = net.nat({ outside: TUNNEL_NAT, inside: [INGRESS_OUT] });
      const clients = ["10.1.0.1", "10.1.0.2"].map((host) => clientOf(net, host));
      for (const client of clients) await exchange(net, client);
      await net.clock.sleep(SILENCE_MS);
      nat.rebind();
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      // The ID of the second flow is the first one of 8 bytes.
      expect(ports.size).toBe(3);
      expect(egress.snapshot().flowCounters).toMatchObject({ opened: 3, moved: 1 });
    });
  });

  test("datagrams that repeat a flow ID from another address get no replies of a flow in use", async () => {
    const firstFlowId = 2 ** 40;
    await simulate({ firstFlowId }, async (net, { egress }, ports) => {
      const client = clientOf(net, HOME);
      const forged = forgedIngress(net, ATTACKER, firstFlowId);
      for (let i = 0; i < 20; i++) {
        expect(await exchange(net, client)).toContain(100);
        expect(await forged.ask()).toEqual([]);
        await net.clock.sleep(SILENCE_MS - 100);
      }
      expect(ports.size).toBe(1);
      expect(egress.snapshot().flowCounters.moved).toBe(0);
      // A flow that was taken while it was silent is taken back with the next datagram.
      await net.clock.sleep(SILENCE_MS);
      expect(await forged.ask()).toEqual([108]);
      for (let i = 0; i < 10; i++) {
        expect(await exchange(net, client)).toContain(100);
        expect(await forged.ask()).toEqual([]);
      }
      expect(egress.snapshot().flowCounters.moved).toBe(2);
    });
  });

  test("a forged ingress that takes a silent flow draws few replies", async () => {
    const firstFlowId = 2 ** 40;
    await simulate({ firstFlowId, replies: 50, bytes: 1200 }, async (net, { egress }) => {
      const client = clientOf(net, HOME);
      for (let i = 0; i < 3; i++) await exchange(net, client, 1200);
      expect((await exchange(net, client, 1200)).length).toBe(50);
      await net.clock.sleep(SILENCE_MS);
      expect((await forgedIngress(net, ATTACKER, firstFlowId).ask()).length).toBe(3);
      expect(egress.snapshot().flowCounters.moved).toBe(1);
    });
  });

  test("a guessed flow ID opens a flow of its own", async () => {
    const firstFlowId = 2 ** 40;
    await simulate({ firstFlowId }, async (net, { egress }, ports) => {
      const client = clientOf(net, HOME);
      await exchange(net, client);
      await net.clock.sleep(SILENCE_MS);
      expect(await forgedIngress(net, ATTACKER, firstFlowId + 1).ask()).toEqual([108]);
      expect(await exchange(net, client)).toEqual([100]);
      expect(ports.size).toBe(2);
      expect(egress.snapshot().flowCounters).toMatchObject({ opened: 2, moved: 0 });
    });
  });
});

describe.skipIf(skipReason !== undefined)("a QUIC client through the proxy", () => {
  test.each([
    { name: "keeps its path at the server", connectionIdBytes: CLIENT_ID_BYTES, opened: 1 },
    { name: "has another path at the server without the option", opened: 2 },
  ])("when a NAT chooses another port, $name", async ({ opened, ...options }) => {
    await using server = await openServer();
    const limits = { flowsMax: 10, idleTimeoutMs: IDLE_TIMEOUT_MS };
    const loopback = { hostname: "127.0.0.1", port: 0 };
    const upstream = { hostname: "127.0.0.1", port: server.address.port };
    const egress = await Egress.open({ listen: loopback, upstream, ...limits });
    const tunnel = { hostname: "127.0.0.1", port: egress.localAddr.port };
    const ingress = await Ingress.open({ listen: loopback, tunnel, ...limits, ...options });
    await using nat = await Relay.open(ingress.localAddr);
    await using client = await openClient();
    const connection = client.endpoint.connect(nat.address);
    await connection.established;
    await download(connection, 10_000);
    const [accepted] = server.accepted;
    const before = `${accepted?.peer}`;
    const transfer = download(connection, 5_000_000);
    await nat.rebind();
    await transfer;
    await download(connection, 10_000);
    expect(`${accepted?.peer}` === before).toBe(opened === 1);
    expect(egress.snapshot().flowCounters.opened).toBe(opened);
    expect(ingress.snapshot().flowCounters).toMatchObject({ opened, moved: 2 - opened });
    ingress.close();
    egress.close();
  });
});

test("the IDs of removed flows, and those that other flows have, are not stored", () => {
  const ids = new ConnectionIds<{ connectionId: Uint8Array | undefined; name: string }>(ID_BYTES);
  const [a, b] = ["a", "b"].map((name) => ({ name, connectionId: undefined }));
  if (a === undefined || b === undefined) throw new Error("two flows expected");
  const [one, two] = [packet(1), packet(2)];
  // Between other bytes, as in a batch.
  const batch = Uint8Array.of(9, 9, ...one, 9);
  ids.learn(a, batch, 2, one.length);
  ids.learn(b, one, 0, one.length);
  expect(ids.find(one, 0, one.length)?.name).toBe("a");
  ids.learn(b, two, 0, two.length);
  ids.forget(a);
  expect(ids.find(one, 0, one.length)).toBeUndefined();
  ids.learn(b, one, 0, one.length);
  expect(ids.find(batch, 2, one.length)?.name).toBe("b");
  expect(ids.find(two, 0, two.length)).toBeUndefined();
});
