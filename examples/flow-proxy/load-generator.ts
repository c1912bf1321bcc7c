/**
 * The load generator: clients with a socket each send requests for some time, and check every
 * reply.
 *
 * The number of outstanding requests of all clients together is limited to what fits into half of a
 * receive buffer, so that a host that keeps up loses nothing. Losses are counted.
 */

import type { Backend, HostAndPort, UdpSocket } from "../../lib/index.ts";
import { LoadClient, type LoadCounters, REPLY_TIMEOUT_MS, ReplyBatch } from "./load-client.ts";
import { openSocket } from "./open-socket.ts";
import { RequestGenerator, RUN_REQUESTS } from "./request.ts";
import { RequestBudget } from "./request-budget.ts";

/** An upper bound of what the kernel charges to a receive buffer for a datagram of 1200 bytes. */
const DATAGRAM_CHARGE_BYTES = 2560;
/** Linux's default, for the portable backend, which cannot read the size of the buffer. */
const RECEIVE_BUFFER_BYTES = 212_992;
/**
 * The maximum number of outstanding requests of all clients. More would evict each other from the
 * processor's cache on their way.
 */
const OUTSTANDING_MAX = 10 * RUN_REQUESTS;
/** The number of clients of the portable backend with a full window at the same time. */
const PORTABLE_CLIENTS = 8;
const EXPIRY_INTERVAL_MS = 100;

export interface LoadOptions {
  /** The address to send requests to. */
  readonly target: HostAndPort;
  readonly clients: number;
  /** How long to send requests. Replies are awaited for up to a second longer. */
  readonly durationMs: number;
  readonly backend?: Backend | undefined;
  /** Stops sending requests early. */
  readonly signal?: AbortSignal | undefined;
}

export interface LoadReport extends LoadCounters {
  readonly clients: number;
  readonly backend: Backend;
  /** The maximum number of outstanding requests per client. */
  readonly window: number;
  /** How long requests were sent. */
  readonly seconds: number;
}

/** Returns whether no reply was wrong, and at least one was received. */
export function hasPassed({ altered, misdelivered, replies }: LoadReport): boolean {
  return altered === 0 && misdelivered === 0 && replies > 0;
}

/** Sends requests to `target` from many clients. */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { target: connect, clients: clientCount, durationMs, backend, signal } = options;
  const generator = new RequestGenerator();
  const counters = newLoadCounters();
  const replies = new ReplyBatch();
  const clients: LoadClient[] = [];
  let budget: RequestBudget | undefined;
  let window = 0;
  let usedBackend: Backend = "native";
  try {
    for (let index = 0; index < clientCount; index++) {
      const socket = await openSocket({ connect, backend });
      if (budget === undefined) {
        const outstandingMax = outstandingMaxFor(socket);
        window = windowFor(socket, outstandingMax);
        budget = new RequestBudget(outstandingMax);
      }
      usedBackend = socket.backend;
      clients.push(new LoadClient({ index, socket, generator, window, budget, counters, replies }));
    }
    const startMs = performance.now();
    for (const client of clients) client.run();
    await sendUntil(startMs + durationMs, clients, signal);
    const seconds = (performance.now() - startMs) / 1000;
    await awaitReplies(clients);
    return { clients: clientCount, backend: usedBackend, window, seconds, ...counters };
  } finally {
    for (const client of clients) client.close();
  }
}

function newLoadCounters(): LoadCounters {
  return {
    requests: 0,
    requestBytes: 0,
    replies: 0,
    replyBytes: 0,
    lost: 0,
    late: 0,
    duplicated: 0,
    altered: 0,
    misdelivered: 0,
    socketErrors: 0,
  };
}

function outstandingMaxFor(socket: UdpSocket): number {
  const bytes = socket.backend === "native" ? socket.bufferBytes.receive : RECEIVE_BUFFER_BYTES;
  const fitting = Math.floor(bytes / 2 / DATAGRAM_CHARGE_BYTES);
  if (fitting < RUN_REQUESTS) return Math.max(1, fitting);
  // Whole runs: the remainder would be sent as a shorter burst, and the ones after it as well.
  return Math.min(OUTSTANDING_MAX, fitting - (fitting % RUN_REQUESTS));
}

/** Long bursts pay off only with GSO. Without it, more clients have requests at the same time. */
function windowFor({ backend }: UdpSocket, outstandingMax: number): number {
  const window =
    backend === "native" ? outstandingMax : Math.ceil(outstandingMax / PORTABLE_CLIENTS);
  return Math.min(RUN_REQUESTS, window);
}

async function sendUntil(
  endMs: number,
  clients: readonly LoadClient[],
  signal: AbortSignal | undefined,
): Promise<void> {
  while (performance.now() < endMs && !signal?.aborted) {
    const remainingMs = endMs - performance.now();
    await Bun.sleep(Math.min(EXPIRY_INTERVAL_MS, remainingMs));
    for (const client of clients) {
      client.expireRequests(performance.now() - REPLY_TIMEOUT_MS);
      client.run();
    }
  }
}

async function awaitReplies(clients: readonly LoadClient[]): Promise<void> {
  for (const client of clients) client.stopSending();
  const endMs = performance.now() + REPLY_TIMEOUT_MS;
  while (clients.some((client) => client.outstanding > 0) && performance.now() < endMs) {
    await Bun.sleep(5);
  }
  for (const client of clients) client.expireRequests(Number.POSITIVE_INFINITY);
}
