/** Measures how many datagrams pass through two sockets of this thread over loopback. */

import { RecvBatch } from "../batch/recv-batch.ts";
import type { Backend } from "../engine/engine.ts";
import { UdpSocket } from "../sockets/udp.ts";
import { errorText } from "./probe.ts";
import type { LoopbackFigure } from "./report.ts";

const PAYLOAD_BYTES = 1200;
/** As many as fit the default receive buffer of Linux, without GRO as well. */
const DATAGRAMS_PER_LAP = 64;
/** The engine compiles the hot functions meanwhile. */
const WARM_UP_MS = 100;
const MEASURED_MS = 250;
/** When a lap in which datagrams were lost is given up. */
const LIMIT_MS = 5000;

/** Two sockets, and the memory that a lap uses. */
interface Link {
  readonly sender: UdpSocket;
  readonly receiver: UdpSocket;
  readonly payloads: readonly Uint8Array[];
  readonly batch: RecvBatch;
  readonly signal: AbortSignal;
}

/** Measures, or returns why that is not possible. */
export async function measureLoopback(
  backend: Backend,
): Promise<LoopbackFigure | { readonly reason: string }> {
  try {
    const hostname = "127.0.0.1";
    using receiver = await UdpSocket.bind({ hostname, backend });
    const { port } = receiver.localAddr;
    using sender = await UdpSocket.connect({ hostname, port }, { backend });
    // One buffer for all, which GSO sends without gathering pieces.
    const bytes = new Uint8Array(DATAGRAMS_PER_LAP * PAYLOAD_BYTES);
    const payloads = Array.from({ length: DATAGRAMS_PER_LAP }, (_, i) => {
      return bytes.subarray(i * PAYLOAD_BYTES, (i + 1) * PAYLOAD_BYTES);
    });
    const batch = new RecvBatch();
    const link = { sender, receiver, payloads, batch, signal: AbortSignal.timeout(LIMIT_MS) };
    await runFor(link, WARM_UP_MS);
    return await measure(link, backend);
  } catch (error) {
    return { reason: errorText(error) };
  }
}

async function measure(link: Link, backend: Backend): Promise<LoopbackFigure> {
  const callsBefore = systemCalls(link);
  const cpuBefore = process.cpuUsage();
  const { datagrams, seconds } = await runFor(link, MEASURED_MS);
  const { user, system } = process.cpuUsage(cpuBefore);
  const calls = systemCalls(link) - callsBefore;
  return {
    payloadBytes: PAYLOAD_BYTES,
    datagramsPerSecond: Math.round(datagrams / seconds),
    bitsPerSecond: Math.round((datagrams * PAYLOAD_BYTES * 8) / seconds),
    processorNanoseconds: Math.round(((user + system) * 1000) / datagrams),
    // Each datagram is sent once and received once.
    datagramsPerSystemCall:
      backend === "native" ? Number(((2 * datagrams) / calls).toFixed(1)) : null,
  };
}

function systemCalls({ sender, receiver }: Link): number {
  return sender.counters.sendCalls + receiver.counters.receiveCalls;
}

/** Sends and receives until the time is over, and returns how many datagrams have passed. */
async function runFor(link: Link, durationMs: number) {
  const { sender, receiver, payloads, batch, signal } = link;
  const startMs = performance.now();
  let datagrams = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    await sender.sendMany(payloads, { signal });
    for (let received = 0; received < DATAGRAMS_PER_LAP; ) {
      received += await receiver.recvBatch(batch, { signal });
      if (batch.lengthAt(batch.length - 1) !== PAYLOAD_BYTES) throw new Error("a wrong length");
    }
    datagrams += DATAGRAMS_PER_LAP;
    elapsedMs = performance.now() - startMs;
  }
  return { datagrams, seconds: elapsedMs / 1000 };
}
