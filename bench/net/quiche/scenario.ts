/**
 * QUIC downloads, client and server in one process: quiche with the driver of `examples/quiche`, on
 * this library and on `Bun.udpSocket`, and the QUIC stacks of Bun and Deno.
 */

import { join } from "node:path";
import { loadQuiche } from "../../../examples/quiche/install.ts";
import { findPeers, type Peer } from "../../../examples/quiche/interop.ts";
import { IDENTITY_VARIABLE } from "../../../examples/quiche/peers/peer.ts";
import { makeIdentity } from "../../../examples/quiche/tls.ts";
import { BUN, type Contender, DEFAULTS } from "../contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "../datagrams.ts";
import type { Figures } from "../measures.ts";
import { startOnAllProcessors } from "../processes.ts";
import { measureEach, parameterOf, type Scenario } from "../scenario.ts";

const BYTES_PER_MB = 1e6;
/** The download before the timed one. Those of quiche are verified with their SHA-256. */
const WARM_UP_MB = 20;

const driver = (kind: string) => () => [process.execPath, join(import.meta.dir, "driver.ts"), kind];
const { reason } = loadQuiche();
const missing =
  reason === undefined ? {} : { missing: `${reason}: npm install --prefix examples/quiche` };

/** quiche on `recvBatch` and `sendBatch`. */
export const ON_BATCHES: Contender = {
  ...missing,
  name: "quiche on datagram-socket",
  command: driver("batch"),
  ...(DEFAULTS.env && { env: DEFAULTS.env }),
};
/** The same driver and buffer sizes. */
export const ON_BUN: Contender = {
  ...missing,
  name: `quiche on ${BUN.name}`,
  command: driver("bun"),
};

/** Returns another QUIC stack as a contender. */
function stack({ name, command, reason }: Peer): Contender {
  const env = { [IDENTITY_VARIABLE]: JSON.stringify(makeIdentity()) };
  const run = () => [...(command ?? []), "both"];
  return { name, env, command: run, ...(reason !== undefined && { missing: reason }) };
}

/** The point of the targets: a download of 100 MB. */
export const QUIC_DOWNLOAD = { megabytes: 100 };

export const QUIC: Scenario = {
  suite: "net",
  name: "QUIC download",
  points: [QUIC_DOWNLOAD],
  contenders: [ON_BUN, ...findPeers().map(stack), ON_BATCHES],
  measure: measureEach(async (contender, point): Promise<Figures> => {
    const megabytes = parameterOf(point, "megabytes");
    const lengths = [WARM_UP_MB, megabytes].map((length) => length * BYTES_PER_MB);
    await using running = startOnAllProcessors(contender, DEFAULT_DATAGRAM_BYTES, ...lengths);
    await running.next();
    const { seconds = 0, cpuMs = 0, ...bursts } = await running.next();
    return { megabytesPerS: megabytes / seconds, endsCpuMs: cpuMs, ...bursts };
  }),
};
