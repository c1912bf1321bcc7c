/** Clients that open a flow, exchange one datagram, and never come back. */

import { type HostAndPort, UdpSocket } from "../../lib/index.ts";

const REPLY_TIMEOUT_MS = 2000;
/** New clients start in steps, so that a late timer does not lower their number. */
const STEP_MS = 20;
const REQUEST_BYTES = 200;

/** The totals of all exchanges that have ended. */
export interface ChurnCounters {
  exchanges: number;
  /** Exchanges without a reply in time. */
  lost: number;
  /** Replies that are not equal to the request. */
  altered: number;
}

/** Starts `perSecond` clients a second until `signal` aborts, and waits for the last one. */
export async function runChurn(
  target: HostAndPort,
  perSecond: number,
  counters: ChurnCounters,
  signal: AbortSignal,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const startMs = performance.now();
  let started = 0;
  while (!signal.aborted) {
    const due = ((performance.now() - startMs) / 1000) * perSecond;
    for (; started < due; started++) {
      const exchange: Promise<void> = exchangeOnce(target, started, counters).finally(() =>
        running.delete(exchange),
      );
      running.add(exchange);
    }
    await Bun.sleep(STEP_MS);
  }
  await Promise.all(running);
}

async function exchangeOnce(
  target: HostAndPort,
  number: number,
  counters: ChurnCounters,
): Promise<void> {
  await using socket = await UdpSocket.connect(target, { sendErrors: "drop" });
  const request = new Uint8Array(REQUEST_BYTES).fill(number);
  new DataView(request.buffer).setUint32(0, number);
  await socket.send(request);
  const reply = new Uint8Array(REQUEST_BYTES + 1);
  const options = { signal: AbortSignal.timeout(REPLY_TIMEOUT_MS) };
  const length = await socket.recv(reply, options).catch(() => undefined);
  counters.exchanges++;
  if (length === undefined) counters.lost++;
  else if (Buffer.compare(reply.subarray(0, length), request) !== 0) counters.altered++;
}
