import { describe, expect, test } from "bun:test";
import { download } from "../../examples/quiche/client.ts";
import { decodeServerId } from "../../examples/quiche/quic-lb.ts";
import { ID_BYTES } from "../../examples/quiche/router.ts";
import { SocketAddress } from "../../lib/index.ts";
import { openClient, openServer, skipReason } from "./endpoints.ts";
import { Relay } from "./relay.ts";

const BYTES = 5_000_000;

describe.skipIf(skipReason !== undefined)("paths", () => {
  test("a client moves to another address during a download", async () => {
    await using server = await openServer({}, { hostname: "0.0.0.0" });
    await using client = await openClient({}, { hostname: "0.0.0.0" });
    const { port } = client.address;
    const connection = client.endpoint.connect(server.address, client.address);
    await connection.established;
    await download(connection, 10_000);
    const [accepted] = server.accepted;
    if (accepted === undefined) throw new Error("no connection was accepted");
    const migrated = Promise.withResolvers<string>();
    accepted.onPeerMigrated = migrated.resolve;
    const transfer = download(connection, BYTES);
    await connection.migrate(SocketAddress.ip("127.0.0.2", port));
    await transfer;
    expect(await migrated.promise).toBe(`127.0.0.2:${port}`);
    await download(connection, 10_000);
    expect(`${accepted.peer}`).toBe(`127.0.0.2:${port}`);
  });

  test("with a server ID, all packets of a client have it, also after a migration", async () => {
    const serverId = Uint8Array.of(7, 8, 9);
    await using server = await openServer({ serverId }, { hostname: "0.0.0.0" });
    await using client = await openClient({}, { hostname: "0.0.0.0" });
    const config = { rotation: 0, serverIdBytes: 3, nonceBytes: ID_BYTES };
    const ids = new Set<string>();
    const { endpoint } = server;
    const receive = endpoint.receive.bind(endpoint);
    endpoint.receive = (datagram, ...rest) => {
      const isShort = ((datagram[0] as number) & 0x80) === 0;
      if (isShort) ids.add(datagram.slice(1, 1 + 4 + ID_BYTES).toHex());
      receive(datagram, ...rest);
    };
    const connection = client.endpoint.connect(server.address, client.address);
    await connection.established;
    await download(connection, 10_000);
    await connection.migrate(SocketAddress.ip("127.0.0.2", client.address.port));
    await download(connection, 10_000);
    expect(ids.size).toBeGreaterThanOrEqual(2);
    for (const id of ids) {
      expect(decodeServerId(config, Uint8Array.fromHex(id))?.toHex()).toBe("070809");
    }
    expect(endpoint.counters.strays).toBe(0);
  });

  test("a probe that gets no reply rejects the migration, and the connection stays", async () => {
    await using server = await openServer({}, { hostname: "0.0.0.0" });
    await using client = await openClient({}, { hostname: "0.0.0.0" });
    const connection = client.endpoint.connect(server.address, client.address);
    await connection.established;
    await download(connection, 10_000);
    // The system refuses to send from an address that this host does not have.
    const elsewhere = SocketAddress.ip("192.0.2.1", client.address.port);
    const migration = connection.migrate(elsewhere, { timeoutMs: 50 });
    expect(await migration.catch((error: Error) => error.message)).toMatch(/did not reply/);
    await download(connection, 10_000);
  });

  test("replies come from the address that the client has connected to", async () => {
    await using server = await openServer({}, { hostname: "0.0.0.0" });
    await using client = await openClient();
    const to = SocketAddress.ip("127.0.0.9", server.address.port);
    const connection = client.endpoint.connect(to);
    await connection.established;
    await download(connection, 100_000);
    expect(`${connection.peer}`).toBe(`${to}`);
  });

  test("the server follows a client whose NAT chooses another port", async () => {
    await using server = await openServer();
    await using relay = await Relay.open(server.address);
    await using client = await openClient();
    const connection = client.endpoint.connect(relay.address);
    await connection.established;
    await download(connection, 10_000);
    const [accepted] = server.accepted;
    const before = `${accepted?.peer}`;
    const transfer = download(connection, BYTES);
    await relay.rebind();
    await transfer;
    await download(connection, 10_000);
    expect(`${accepted?.peer}`).not.toBe(before);
    expect(server.endpoint.counters.accepted).toBe(1);
  });

  test("lost packets are sent again", async () => {
    await using server = await openServer();
    await using relay = await Relay.open(server.address, { dropEach: 50 });
    await using client = await openClient();
    const connection = client.endpoint.connect(relay.address);
    await connection.established;
    await download(connection, 500_000);
    expect(relay.dropped).toBeGreaterThan(5);
    expect(server.accepted[0]?.stats.lost).toBeGreaterThan(0);
  });

  test("the ECN field of received datagrams is counted", async () => {
    await using server = await openServer();
    await using client = await openClient({}, { ecn: 2 });
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    await download(connection, 10_000);
    const { ect0, notEct, ect1, ce } = server.accepted[0]?.ecnReceived ?? {};
    expect(ect0).toBeGreaterThan(1);
    expect([notEct, ect1, ce]).toEqual([0, 0, 0]);
    expect(connection.ecnReceived.notEct).toBeGreaterThan(1);
  });
});
