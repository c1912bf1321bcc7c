import { describe, expect, test } from "bun:test";
import { bodyDigest } from "../../examples/quiche/body.ts";
import { download, echoDatagrams, upload } from "../../examples/quiche/client.ts";
import type { QuicConnection } from "../../examples/quiche/connection.ts";
import type { QuicStream } from "../../examples/quiche/stream.ts";
import { makeIdentity } from "../../examples/quiche/tls.ts";
import { UdpSocket, WouldBlock } from "../../lib/index.ts";
import { numbered, numberOf, sequence } from "../tools/sockets.ts";
import { openClient, openServer, skipReason } from "./endpoints.ts";

const BYTES = 5_000_000;

test("bodies of any length have a digest of their own, and blocks differ", () => {
  const lengths = [0, 1, 3, 4, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 21];
  expect(new Set(lengths.map(bodyDigest)).size).toBe(lengths.length);
});

describe.skipIf(skipReason !== undefined)("transfers", () => {
  test("download, upload and DATAGRAMs arrive unaltered, in bursts of GSO messages", async () => {
    await using server = await openServer();
    await using client = await openClient();
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    await download(connection, BYTES);
    await upload(connection, BYTES);
    expect(await echoDatagrams(connection, { count: 500, bytes: 1200 })).toBe(500);
    expect(connection.protocol).toBe("datagram-socket-demo");
    const { datagramsSent, messagesSent, sendCalls, sendDrops } = server.io.socket.counters;
    expect(datagramsSent).toBeGreaterThan(BYTES / 1350);
    expect(datagramsSent / messagesSent).toBeGreaterThan(8);
    expect(datagramsSent / sendCalls).toBeGreaterThan(12);
    expect([sendDrops, server.endpoint.counters.strays]).toEqual([0, 0]);
    expect([connection.streams, server.accepted[0]?.streams]).toEqual([0, 0]);
  });

  test("DATAGRAMs of a few bytes, which share packets, all arrive in order", async () => {
    const count = 40_000;
    const received: number[] = [];
    const all = Promise.withResolvers<void>();
    const onConnection = (connection: QuicConnection) => {
      connection.onDatagram = (bytes) => {
        received.push(numberOf(bytes));
        if (received.length === count) all.resolve();
      };
    };
    await using server = await openServer({ onConnection });
    await using client = await openClient({ datagramsMax: count });
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    for (const datagram of numbered(count)) connection.sendDatagram(datagram);
    await all.promise;
    expect(received).toEqual(sequence(count));
  });

  test("bodies of length 0, 1 and at the end of a packet and a block, all at once", async () => {
    await using server = await openServer();
    await using client = await openClient();
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    // Longer ones use up the congestion window, so that the others end when nothing may be sent.
    const lengths = [2 ** 20 + 1, 0, 1, 1320, 1321, 2 ** 20, 0, 1];
    await Promise.all(lengths.map((length) => download(connection, length)));
    expect(connection.streams).toBe(0);
  });

  test("without offload, the same transfers succeed", async () => {
    await using server = await openServer({}, { offload: false });
    await using client = await openClient({}, { offload: false });
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    await download(connection, 1_000_000);
    const { datagramsSent, messagesSent } = server.io.socket.counters;
    expect(messagesSent).toBe(datagramsSent);
  });

  test("while the send buffer is full, packets wait, and none is lost", async () => {
    await using server = await openServer();
    await using client = await openClient();
    const { socket } = server.io;
    const trySendBatch = socket.trySendBatch.bind(socket);
    let calls = 0;
    let blocked = 0;
    socket.trySendBatch = (batch) => {
      if (++calls % 2 > 0) return trySendBatch(batch);
      blocked++;
      return WouldBlock;
    };
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    await download(connection, BYTES);
    expect(blocked).toBeGreaterThan(5);
    expect(socket.counters.sendDrops).toBe(0);
  });

  test("16 connections of one socket transfer at once, and leave nothing", async () => {
    await using server = await openServer();
    await using client = await openClient();
    const connections = Array.from({ length: 16 }, () => client.endpoint.connect(server.address));
    await Promise.all(connections.map(({ established }) => established));
    await Promise.all(connections.map((connection) => download(connection, 50_000)));
    expect(server.endpoint.connections).toBe(16);
    for (const connection of connections) connection.close(3, "done");
    const infos = await Promise.all(server.accepted.map(({ closed }) => closed));
    const expected = { by: "peer", isApp: true, code: 3, reason: "done" } as const;
    expect(infos).toEqual(Array.from({ length: 16 }, () => expected));
    await Promise.all(connections.map(({ closed }) => closed));
    const nothing = { ids: 0, deadlines: 0 };
    expect([server.endpoint.tableSizes, client.endpoint.tableSizes]).toEqual([nothing, nothing]);
    expect(server.endpoint.counters.accepted).toBe(16);
  });

  test("a reader without a handler stops the writer, and none of its data is lost", async () => {
    const streams = Promise.withResolvers<QuicStream>();
    await using server = await openServer({
      streamWindowBytes: 100_000,
      onConnection: (connection: QuicConnection) => {
        connection.onStream = streams.resolve;
      },
    });
    await using client = await openClient();
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    const stream = connection.openStream({ isUnidirectional: true });
    let isWritten = false;
    const written = stream.write(new Uint8Array(1_000_000).fill(7), true);
    void written.then(() => {
      isWritten = true;
    });
    const incoming = await streams.promise;
    // The server grants more only when it reads: this is one round trip after its window is full.
    await connection.openStream().write(Uint8Array.of(1));
    expect(isWritten).toBe(false);
    const ended = Promise.withResolvers<number>();
    let received = 0;
    incoming.onData = (bytes, fin) => {
      received += bytes.reduce((sum, byte) => sum + (byte === 7 ? 1 : 0), 0);
      if (fin) ended.resolve(received);
    };
    expect(await ended.promise).toBe(1_000_000);
    await written;
  });

  test("a stream that the server resets fails the write of the client", async () => {
    await using server = await openServer({
      onConnection: (connection: QuicConnection) => {
        connection.onStream = (stream) => stream.reset(9);
      },
    });
    await using client = await openClient();
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    const write = connection.openStream().write(new Uint8Array(50_000_000));
    expect(await write.catch((error: Error) => error.message)).toMatch(/StreamStopped/);
  });

  test("the end of a connection rejects writes before and after it", async () => {
    await using server = await openServer({ onConnection: () => {} });
    await using client = await openClient();
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    const stream = connection.openStream();
    const write = stream.write(new Uint8Array(50_000_000));
    await server.accepted[0]?.established;
    server.accepted[0]?.close(5, "no room");
    expect(await write.catch((error: Error) => error.message)).toMatch(/no room/);
    expect(await stream.write(Uint8Array.of(1)).catch((error: Error) => error.message)).toMatch(
      /no room/,
    );
    expect(await connection.closed).toEqual({
      by: "peer",
      isApp: true,
      code: 5,
      reason: "no room",
    });
  });
});

describe.skipIf(skipReason !== undefined)("handshakes", () => {
  test("a server with a certificate that is not trusted is refused", async () => {
    await using server = await openServer();
    await using client = await openClient({ trusted: makeIdentity().certificate });
    const connection = client.endpoint.connect(server.address);
    const refused = await connection.established.catch((error: Error) => error.message);
    expect(refused).toMatch(/closed/);
    expect((await connection.closed).by).toBe("local");
  });

  test("without a server, close ends the connection and rejects the handshake", async () => {
    await using client = await openClient();
    const connection = client.endpoint.connect(await closedAddress());
    await client.endpoint.close({ timeoutMs: 5 });
    expect((await connection.closed).by).toBe("local");
    const failed = await connection.established.catch((error: Error) => error.message);
    expect(failed).toMatch(/closed/);
    expect(client.endpoint.connections).toBe(0);
  });

  test("a connection without packets ends with its idle timeout, on both sides", async () => {
    await using server = await openServer();
    await using client = await openClient({ idleTimeoutMs: 50 });
    const connection = client.endpoint.connect(server.address);
    await connection.established;
    const [accepted] = server.accepted;
    expect([(await connection.closed).by, (await accepted?.closed)?.by]).toEqual([
      "timeout",
      "timeout",
    ]);
    expect([client.endpoint.connections, server.endpoint.connections]).toEqual([0, 0]);
  });

  test("a version that is not supported gets the versions that are", async () => {
    await using server = await openServer();
    await using socket = await UdpSocket.connect({
      hostname: "127.0.0.1",
      port: server.address.port,
    });
    const packet = new Uint8Array(1200);
    packet.set([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9]);
    await socket.send(packet);
    const reply = new Uint8Array(1500);
    const length = await socket.recv(reply);
    const view = new DataView(reply.buffer, 0, length);
    expect(view.getUint32(1)).toBe(0);
    expect([...reply.subarray(5, 19)]).toEqual([4, 9, 9, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(view.getUint32(19)).toBe(1);
    expect(server.endpoint.counters.versionNegotiations).toBe(1);
    expect(server.endpoint.connections).toBe(0);
  });

  test("datagrams that open no connection are counted, and no more than allowed are opened", async () => {
    await using server = await openServer({ connectionsMax: 1 });
    await using client = await openClient();
    await client.endpoint.connect(server.address).established;
    client.endpoint.connect(server.address);
    while (server.endpoint.counters.refused === 0) await Bun.sleep(1);
    await using socket = await UdpSocket.connect({
      hostname: "127.0.0.1",
      port: server.address.port,
    });
    const strays = [new Uint8Array(0), new Uint8Array(1200), new Uint8Array(1200).fill(0xff)];
    await socket.sendMany([...strays, new Uint8Array(20).fill(0x40)]);
    while (server.endpoint.counters.strays < 3) await Bun.sleep(1);
    expect(server.endpoint.counters.accepted).toBe(1);
  });
});

/** Returns an address of this host where nothing listens. */
async function closedAddress() {
  await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  return socket.localAddr;
}
