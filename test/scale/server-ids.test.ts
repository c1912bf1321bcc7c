/** Flow IDs that contain server IDs, and an ingress that assigns flows to several egresses. */

import { describe, expect, test } from "bun:test";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import {
  SERVER_FLOW_FIRST_BYTE,
  SERVER_ID_MAX,
  ServerIds,
  serverFlowId,
} from "../../examples/flow-proxy/server-ids.ts";
import { FLOW_SLOTS, slotOf } from "../../examples/flow-proxy/tunnel-datagram.ts";
import { decodeServerId, encodeId } from "../../examples/quiche/quic-lb.ts";
import { decodeVarint, SendBatch, UdpSocket } from "../../lib/index.ts";

/** The configuration that flow IDs have. */
const CONFIG = { rotation: 6, serverIdBytes: 2, nonceBytes: 5 };

/** Returns a flow ID as it is sent. */
function encoded(serverId: number, flowNumber: number): Uint8Array {
  const id = BigInt(serverFlowId(serverId, flowNumber));
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, (3n << 62n) | id);
  return bytes;
}

describe("flow IDs with a server ID", () => {
  test.each([0, 1, 0x1234, SERVER_ID_MAX])("are connection IDs of QUIC-LB: server %d", (server) => {
    for (const flowNumber of [0, 1, 2 ** 29, 2 ** 40 - 1]) {
      const bytes = encoded(server, flowNumber);
      const serverId = Uint8Array.of(server >> 8, server & 0xff);
      const nonce = Uint8Array.fromHex(flowNumber.toString(16).padStart(10, "0"));
      expect(bytes.toHex()).toBe(encodeId(CONFIG, serverId, nonce).toHex());
      expect(bytes[0]).toBe(SERVER_FLOW_FIRST_BYTE);
      expect(decodeServerId(CONFIG, bytes)?.toHex()).toBe(serverId.toHex());
      expect(BigInt(decodeVarint(bytes, 0))).toBe(BigInt(serverFlowId(server, flowNumber)));
    }
  });

  test("have the slots of their flow numbers, whatever the server", () => {
    for (const flowNumber of [0, 5, FLOW_SLOTS - 1, FLOW_SLOTS, 2 ** 29 + 7]) {
      expect(slotOf(serverFlowId(3, flowNumber))).toBe(flowNumber % FLOW_SLOTS);
      expect(slotOf(serverFlowId(9, flowNumber))).toBe(flowNumber % FLOW_SLOTS);
    }
  });

  test("are assigned to one server after the other", () => {
    const ids = new ServerIds([4, 5, 6]);
    expect([ids.next(), ids.next(), ids.next(), ids.next()]).toEqual([4, 5, 6, 4]);
    expect([ids.has(5), ids.has(7)]).toEqual([true, false]);
  });

  test.each([[[]], [[-1]], [[SERVER_ID_MAX + 1]], [[1, 1.5]]])("refuse the servers %p", (ids) => {
    expect(() => new ServerIds(ids)).toThrow(RangeError);
  });
});

const LIMITS = { flowsMax: 100, idleTimeoutMs: 10_000 };
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** Opens an ingress, and the socket that its tunnel leads to. */
async function openTunnel(serverIds: readonly number[]) {
  const egress = await UdpSocket.bind(LOOPBACK);
  const tunnel = { hostname: "127.0.0.1", port: egress.localAddr.port };
  const ingress = await Ingress.open({ listen: LOOPBACK, tunnel, ...LIMITS, serverIds });
  const to = { hostname: "127.0.0.1", port: ingress.localAddr.port };
  return { egress, ingress, connect: () => UdpSocket.connect(to) };
}

/** Sends a datagram, and returns its flow ID and payload as they arrive at the egress. */
async function send(client: UdpSocket, egress: UdpSocket) {
  await client.send("ping");
  const buffer = new Uint8Array(100);
  const { length, peer } = await egress.recvFrom(buffer);
  return { id: buffer.slice(0, 8), payload: buffer.slice(8, length), peer };
}

const serverOf = (id: Uint8Array) => decodeServerId(CONFIG, id)?.toHex();

describe("an ingress with several egresses", () => {
  test("assigns the flows to them, and returns the replies to the clients", async () => {
    const { egress, ingress, connect } = await openTunnel([1, 300]);
    const clients = await Promise.all([connect(), connect(), connect()]);
    const servers: (string | undefined)[] = [];
    for (const client of clients) {
      const { id, payload, peer } = await send(client, egress);
      servers.push(serverOf(id));
      expect(Buffer.from(payload).toString()).toBe("ping");
      const reply = new SendBatch({ datagrams: 1 });
      reply.push(Buffer.concat([id, Buffer.from("pong")]), peer);
      await egress.sendBatch(reply);
      const buffer = Buffer.alloc(100);
      expect(buffer.toString("utf8", 0, await client.recv(buffer))).toBe("pong");
    }
    expect(servers).toEqual(["0001", "012c", "0001"]);
    for (const socket of [egress, ingress, ...clients]) socket.close();
  });

  test("keeps the flows of the others when one is added or removed", async () => {
    const { egress, ingress, connect } = await openTunnel([1, 2]);
    const clients = await Promise.all([connect(), connect()]);
    const idsOf = async () => {
      const ids: string[] = [];
      for (const client of clients) ids.push((await send(client, egress)).id.toHex());
      return ids;
    };
    const before = await idsOf();
    ingress.setServerIds([1, 2, 3]);
    expect(await idsOf()).toEqual(before);
    ingress.setServerIds([3, 1]);
    const [first, second] = await idsOf();
    expect(first).toBe(before[0]);
    expect(serverOf(Uint8Array.fromHex(second as string))).toBe("0003");
    // In the next flow of the same slot, so that a late reply to the old one is dropped.
    const slot = (id: string | undefined) => slotOf(BigInt(`0x${id}`) & (2n ** 62n - 1n));
    expect(slot(second)).toBe(slot(before[1]));
    for (const socket of [egress, ingress, ...clients]) socket.close();
  });
});
