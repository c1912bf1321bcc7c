/**
 * The load generator: many clients, each with a socket of its own, that ask for a while and check
 * every answer.
 *
 * The windows of all clients together fit into half of one kernel buffer, so that nothing
 * need be lost on a host that keeps up. What is lost all the same is told.
 */

import type { Backend, HostAndPort, UdpSocket } from "../../lib/index.ts";
import { ANSWER_TIMEOUT_MS, Inbox, LoadClient, type LoadCounts } from "./load-client.ts";
import { openSocket } from "./open.ts";
import { Questions } from "./question.ts";

/** What the kernel charges a datagram of 1200 bytes to a receive buffer, generously. */
const DATAGRAM_CHARGE_BYTES = 2560;
/** Assumed where the buffers' size cannot be asked for: Linux's default. */
const RECEIVE_BUFFER_BYTES = 212_992;
const WINDOW_MAX = 32;
const GIVE_UP_INTERVAL_MS = 100;

export interface LoadOptions {
  /** The ingress. */
  readonly target: HostAndPort;
  readonly clients: number;
  /** How long to ask. Answers are awaited a second longer. */
  readonly durationMs: number;
  readonly backend?: Backend | undefined;
  /** Ends the asking early. */
  readonly signal?: AbortSignal | undefined;
}

/** What came of it. */
export interface LoadReport extends LoadCounts {
  readonly clients: number;
  readonly backend: Backend;
  /** Questions that each client had open at the most. */
  readonly window: number;
  /** Seconds of asking. */
  readonly seconds: number;
}

/** Whether no answer was wrong, and at least one came. */
export function isIntact({ altered, misdelivered, answered }: LoadReport): boolean {
  return altered === 0 && misdelivered === 0 && answered > 0;
}

/** Asks `target` from many clients. */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { target: connect, clients: count, durationMs, backend, signal } = options;
  const questions = new Questions();
  const counts = newLoadCounts();
  const inbox = new Inbox();
  const clients: LoadClient[] = [];
  let window = 0;
  let engine: Backend = "native";
  try {
    for (let index = 0; index < count; index++) {
      const socket = await openSocket({ connect, backend });
      window ||= windowOf(socket, count);
      engine = socket.backend;
      clients.push(new LoadClient({ index, socket, questions, window, counts, inbox }));
    }
    const startMs = performance.now();
    for (const client of clients) client.run();
    await keepAsking(clients, startMs + durationMs, signal);
    const seconds = (performance.now() - startMs) / 1000;
    await awaitAnswers(clients);
    return { clients: count, backend: engine, window, seconds, ...counts };
  } finally {
    for (const client of clients) client.close();
  }
}

function newLoadCounts(): LoadCounts {
  return {
    sent: 0,
    bytesSent: 0,
    answered: 0,
    bytesAnswered: 0,
    lost: 0,
    late: 0,
    duplicated: 0,
    altered: 0,
    misdelivered: 0,
    socketErrors: 0,
  };
}

function windowOf(socket: UdpSocket, clients: number): number {
  const bytes = socket.backend === "native" ? socket.bufferBytes.receive : RECEIVE_BUFFER_BYTES;
  const window = Math.floor(bytes / 2 / DATAGRAM_CHARGE_BYTES / clients);
  return Math.min(WINDOW_MAX, Math.max(1, window));
}

async function keepAsking(
  clients: readonly LoadClient[],
  untilMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  while (performance.now() < untilMs && !signal?.aborted) {
    const leftMs = untilMs - performance.now();
    await Bun.sleep(Math.min(GIVE_UP_INTERVAL_MS, leftMs));
    for (const client of clients) {
      client.giveUp(performance.now() - ANSWER_TIMEOUT_MS);
      client.run();
    }
  }
}

async function awaitAnswers(clients: readonly LoadClient[]): Promise<void> {
  for (const client of clients) client.stopAsking();
  const untilMs = performance.now() + ANSWER_TIMEOUT_MS;
  while (clients.some((client) => client.open > 0) && performance.now() < untilMs) {
    await Bun.sleep(5);
  }
  for (const client of clients) client.giveUp(Number.POSITIVE_INFINITY);
}
