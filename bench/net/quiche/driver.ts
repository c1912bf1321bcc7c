/**
 * Downloads a body with the driver of `examples/quiche`, both ends in this thread. Prints
 * `{ seconds, cpuMs, ... }` for each download; the first is verified with its SHA-256.
 *
 *     driver.ts batch|bun BYTES...
 */

import { BatchIo } from "../../../examples/quiche/batch-io.ts";
import { download } from "../../../examples/quiche/client.ts";
import { QuicEndpoint } from "../../../examples/quiche/driver.ts";
import { installQuiche } from "../../../examples/quiche/install.ts";
import type { PacketIo } from "../../../examples/quiche/packet-io.ts";
import { PROTOCOL, serve } from "../../../examples/quiche/server.ts";
import { makeIdentity } from "../../../examples/quiche/tls.ts";
import { print } from "../peers/meter.ts";
import { BunIo } from "./bun-io.ts";

const HOSTNAME = "127.0.0.1";
const BUFFER_BYTES = 4 << 20;

const [kind, ...lengths] = process.argv.slice(2);
const { quiche, reason } = installQuiche();
if (quiche === undefined) throw new Error(reason);

const bind = (): Promise<PacketIo> =>
  kind === "bun"
    ? BunIo.bind(HOSTNAME, BUFFER_BYTES)
    : BatchIo.bind({ hostname: HOSTNAME, bufferBytes: BUFFER_BYTES });
const identity = makeIdentity();
const options = { protocol: PROTOCOL, identity, onConnection: serve };
const serverIo = await bind();
const server = new QuicEndpoint(quiche, serverIo, options);
const client = new QuicEndpoint(quiche, await bind(), { protocol: PROTOCOL });
const connection = client.connect(server.localAddr);
await connection.established;

let isVerified = true;
for (const bytes of lengths.map(Number)) {
  const before = process.cpuUsage();
  const { seconds } = await download(connection, bytes, { isVerified });
  const { user, system } = process.cpuUsage(before);
  print({ seconds, cpuMs: (user + system) / 1e3, ...packetsPer(serverIo) });
  isVerified = false;
}
await client.close();
await server.close();
process.exit(0);

/** Returns the mean lengths of the bursts that the server has sent. */
function packetsPer(io: PacketIo): Record<string, number> {
  if (!(io instanceof BatchIo)) return {};
  const { datagramsSent, messagesSent, sendCalls } = io.socket.counters;
  return {
    serverOutPerMessage: datagramsSent / messagesSent,
    serverOutPerCall: datagramsSent / sendCalls,
  };
}
