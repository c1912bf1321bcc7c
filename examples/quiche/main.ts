/**
 * The demonstration: `npm run demo:quiche`. Transfers between a client and a server of this example,
 * and between this example and other QUIC stacks, each verified. The exit code is 0 if all succeed.
 */

import { SocketAddress } from "../../lib/index.ts";
import { Checks } from "../tools/checks.ts";
import { BatchIo } from "./batch-io.ts";
import { bodyDigest } from "./body.ts";
import { download, echoDatagrams, upload } from "./client.ts";
import type { QuicConnection } from "./connection.ts";
import { QuicEndpoint } from "./driver.ts";
import { installQuiche } from "./install.ts";
import { findPeers, type Peer, runPeerClient, startPeerServer } from "./interop.ts";
import type { Quiche } from "./quiche.ts";
import { PROTOCOL, serve } from "./server.ts";
import { type Identity, makeIdentity } from "./tls.ts";

const BYTES = 100_000_000;
const UPLOAD_BYTES = 20_000_000;
const DATAGRAMS = 5000;
const INTEROP_BYTES = 10_000_000;
const INTEROP_DATAGRAMS = 100;
/** The demonstration fails if it takes longer. */
const MS_MAX = 55_000;

const checks = new Checks();

function expectAll(echoed: number, sent: number): string {
  // DATAGRAMs are unreliable, but on loopback congestion control loses none.
  if (echoed !== sent) throw new Error(`${sent} DATAGRAMs sent, ${echoed} echoed`);
  return `${echoed} of ${sent} DATAGRAMs echoed`;
}

async function main(quiche: Quiche): Promise<string> {
  const identity = makeIdentity();
  const options = { protocol: PROTOCOL, identity, onConnection: serve };
  // Bound to all addresses, so that a connection can move to another one of this host.
  const serverIo = await BatchIo.bind({ hostname: "0.0.0.0" });
  const server = new QuicEndpoint(quiche, serverIo, options);
  const clientIo = await BatchIo.bind({ hostname: "0.0.0.0" });
  const trusted = identity.certificate;
  const client = new QuicEndpoint(quiche, clientIo, { protocol: PROTOCOL, trusted });

  console.log("quiche on both sides, in one thread:");
  const speed = await ownTransfers(client, server);
  const { datagramsSent, messagesSent, sendCalls } = serverIo.socket.counters;
  const perMessage = (datagramsSent / messagesSent).toFixed(1);
  const perCall = (datagramsSent / sendCalls).toFixed(0);
  for (const peer of findPeers()) await interoperate(quiche, server, peer, identity);
  await client.close();
  await server.close();
  return `${speed.toFixed(0)} MB/s, ${perMessage} packets per message, ${perCall} per system call`;
}

/** Transfers between a client and a server of this example. Returns the speed in MB/s. */
async function ownTransfers(client: QuicEndpoint, server: QuicEndpoint): Promise<number> {
  const { port } = client.localAddr;
  const peer = SocketAddress.ip("127.0.0.1", server.localAddr.port);
  const connection = client.connect(peer, SocketAddress.ip("127.0.0.1", port));
  let speed = 0;
  await checks.run("handshake", async () => {
    await connection.established;
    return `protocol ${connection.protocol}, certificate verified`;
  });
  await checks.run("download", async () => {
    const { bytes, seconds } = await download(connection, BYTES);
    speed = bytes / seconds / 1e6;
    return `${bytes / 1e6} MB, SHA-256 equal`;
  });
  await checks.run("upload", async () => {
    await upload(connection, UPLOAD_BYTES);
    return `${UPLOAD_BYTES / 1e6} MB, SHA-256 equal`;
  });
  await checks.run("DATAGRAMs", async () =>
    expectAll(await echoDatagrams(connection, { count: DATAGRAMS, bytes: 1200 }), DATAGRAMS),
  );
  await checks.run("migration", () =>
    migrateDuring(connection, SocketAddress.ip("127.0.0.2", port)),
  );
  await checks.run("close", async () => {
    connection.close(0, "done");
    const { by, reason } = await connection.closed;
    if (client.connections > 0) throw new Error(`${client.connections} connections are left`);
    return `by ${by}, "${reason}"`;
  });
  return speed;
}

/** Moves the client to another address while it downloads. */
async function migrateDuring(connection: QuicConnection, to: SocketAddress): Promise<string> {
  const transfer = download(connection, UPLOAD_BYTES);
  await connection.migrate(to);
  await transfer;
  return `to ${to} during a download, SHA-256 equal`;
}

/** Transfers between this example and another stack, in both directions. */
async function interoperate(
  quiche: Quiche,
  server: QuicEndpoint,
  peer: Peer,
  identity: Identity,
): Promise<void> {
  console.log(`${peer.name}:`);
  if (peer.reason !== undefined) return checks.skip("client and server", peer.reason);
  const { command } = peer;
  const amounts = { bytes: INTEROP_BYTES, datagrams: INTEROP_DATAGRAMS };
  const digest = bodyDigest(INTEROP_BYTES);
  await checks.run("its client, our server", async () => {
    const { port } = server.localAddr;
    const report = await runPeerClient(command, identity, { port, ...amounts });
    if (report.digest !== digest) throw new Error("SHA-256 differs");
    return `SHA-256 equal, ${expectAll(report.echoed, INTEROP_DATAGRAMS)}`;
  });
  await checks.run("its server, our client", async () => {
    await using running = await startPeerServer(command, identity);
    const io = await BatchIo.bind({ hostname: "127.0.0.1" });
    const client = new QuicEndpoint(quiche, io, { protocol: PROTOCOL });
    const connection = client.connect(SocketAddress.ip("127.0.0.1", running.port));
    await connection.established;
    await download(connection, INTEROP_BYTES);
    const echoed = await echoDatagrams(connection, { count: INTEROP_DATAGRAMS, bytes: 1000 });
    await client.close();
    return `SHA-256 equal, ${expectAll(echoed, INTEROP_DATAGRAMS)}`;
  });
}

const startMs = performance.now();
const limit = setTimeout(() => {
  console.log(`quiche demo: FAILED, not finished after ${MS_MAX / 1e3} s`);
  process.exit(1);
}, MS_MAX);
const { quiche, reason } = installQuiche();
if (quiche === undefined) {
  console.log(`quiche demo: FAILED, ${reason}`);
  process.exit(1);
}
const summary = await main(quiche);
clearTimeout(limit);
const { passed, failed } = checks;
const skipped = checks.skipped.length;
const seconds = ((performance.now() - startMs) / 1e3).toFixed(1);
const counts = `${passed} passed, ${failed} failed, ${skipped} skipped`;
console.log(`quiche demo: ${counts} in ${seconds} s; ${summary}`);
process.exit(failed === 0 ? 0 : 1);
