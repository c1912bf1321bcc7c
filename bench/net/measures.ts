/** Runs one contender in one role, with what it needs on the other side, and hands its figures on. */

import { readFileSync } from "node:fs";
import { DATAGRAM_BYTES, PREFIX, SEGMENTS } from "./datagrams.ts";
import {
  type Contender,
  type Line,
  type Running,
  referencePath,
  run,
  startApart,
  startContender,
  startLoad,
} from "./processes.ts";

/** Rate and cost of receiving, sending or relaying. */
export interface Throughput {
  /** Datagrams a second. */
  readonly rate: number;
  /** Processor time of a datagram in microseconds: in the program, in the kernel, both. */
  readonly userUs: number;
  readonly systemUs: number;
  readonly cpuUs: number;
  readonly datagramsPerCall: number;
  /** Which part of what was sent or relayed arrived; the rest found a full socket. */
  readonly arrived: number | undefined;
}

/** Round trips, one at a time. */
export interface Trips {
  readonly p50Us: number;
  readonly p99Us: number;
}

/** How long a sender goes on after its receiver is done: one that starves would look fast. */
const LONGER_SECONDS = 1;
/** Bytes of the receive buffer of relays and sinks: with the default, 3 messages by GSO fill it. */
const FLOOD_RECEIVE_BYTES = 2 ** 20;
/** Start and warm-up of a receiver, in which it is sent to already. */
const BEFORE_SECONDS = 1;

/** Bytes of the receive buffer that a queue is filled in. */
const DRAIN_RECEIVE_BYTES = 4 * 2 ** 20;
/** What a datagram takes of it as the kernel counts, at the most. */
const DRAIN_BYTES_A_DATAGRAM = 2560;
const DRAIN_MESSAGES_MAX = 60;

/** How a sink is measured. */
export interface SinkOptions {
  readonly seconds: number;
  /** Bytes of the receive buffer to ask the kernel for; 0: its default. */
  readonly receiveBytes?: number;
}

/** What a contender receives of a flood by GSO, for so long. */
export async function measureSink(
  contender: Contender,
  { seconds, receiveBytes = FLOOD_RECEIVE_BYTES }: SinkOptions,
): Promise<Throughput> {
  const sink = startApart(contender, "sink", seconds, receiveBytes);
  return throughput(await flooded(sink, seconds));
}

/** What a contender relays of a flood by GSO, for so long. */
export function measureRelay(contender: Contender, seconds: number): Promise<Throughput> {
  return throughputTo({ sockets: 1, prefixBytes: PREFIX.length }, ([port]) => {
    const relay = startApart(contender, "relay", seconds, FLOOD_RECEIVE_BYTES, port as number);
    return flooded(relay, seconds);
  });
}

/** What a contender sends for so long, to one peer or to many. */
export function measureSender(
  contender: Contender,
  { seconds, peers }: { readonly seconds: number; readonly peers: number },
): Promise<Throughput> {
  return throughputTo({ sockets: peers, prefixBytes: 0 }, (ports) =>
    startApart(contender, "send", seconds, ...ports).next(),
  );
}

/** How many nanoseconds a datagram takes out of a queue that is full. */
export async function measureSinkDrain(contender: Contender, laps: number): Promise<number> {
  const sink = startApart(contender, "drain", laps, DRAIN_RECEIVE_BYTES, drainMessages());
  return (await sink.next()).nsPerDatagram as number;
}

/** How many nanoseconds a datagram takes out of a queue that is full, and on to a port. */
export async function measureRelayDrain(contender: Contender, laps: number): Promise<number> {
  const collector = { sockets: 1, prefixBytes: PREFIX.length };
  const { line } = await collected(collector, ([port]) => {
    const role = ["relay-drain", laps, DRAIN_RECEIVE_BYTES, drainMessages(), port as number];
    return startApart(contender, ...role).next();
  });
  return line.nsPerDatagram as number;
}

/** Round trips to a contender that answers: `trips` of them, with a pause after each. */
export async function measureEcho(
  contender: Contender,
  runs: readonly { readonly trips: number; readonly gapUs: number }[],
): Promise<Trips[]> {
  const echo = startContender(contender, "echo");
  const port = String((await echo.next()).port);
  const results = runs.map(({ trips, gapUs }) =>
    run([referencePath(), "ping", port, String(trips), String(gapUs)]),
  );
  await echo.kill();
  return results.map(({ p50Us, p99Us }) => ({ p50Us: Number(p50Us), p99Us: Number(p99Us) }));
}

/** The result of a receiver that is sent to as fast as it goes. */
async function flooded(receiver: Running, seconds: number): Promise<Line> {
  const { port } = await receiver.next();
  const floodSeconds = BEFORE_SECONDS + seconds + LONGER_SECONDS;
  const flood = startLoad("flood", port as number, floodSeconds);
  const line = await receiver.next();
  await flood.kill();
  return line;
}

/** What receives and checks what is sent. */
interface Collector {
  readonly sockets: number;
  readonly prefixBytes: number;
}

async function throughputTo(
  collector: Collector,
  use: (ports: readonly number[]) => Promise<Line>,
): Promise<Throughput> {
  const { line, datagrams } = await collected(collector, use);
  return { ...throughput(line), arrived: datagrams / Number(line.total) };
}

/** What `use` printed that sent to the ports it got, and how many datagrams arrived there. */
async function collected(
  { sockets, prefixBytes }: Collector,
  use: (ports: readonly number[]) => Promise<Line>,
): Promise<{ line: Line; datagrams: number }> {
  const collector = startLoad("collect", sockets, prefixBytes);
  const line = await use((await collector.next<{ ports: number[] }>()).ports);
  collector.endInput();
  const { datagrams = 0, bad } = await collector.next();
  if (bad !== 0 || datagrams === 0) {
    throw new Error(`${datagrams} datagrams arrived, ${bad} of them not as they were sent`);
  }
  return { line, datagrams };
}

/** How many messages fit in the receive buffer that the kernel grants (socket(7)). */
function drainMessages(): number {
  const granted = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
  const bytes = 2 * Math.min(DRAIN_RECEIVE_BYTES, granted);
  const fitting = Math.floor(bytes / (SEGMENTS * DRAIN_BYTES_A_DATAGRAM));
  return Math.max(1, Math.min(fitting, DRAIN_MESSAGES_MAX));
}

function throughput(line: Line): Throughput {
  const { datagrams = 0, calls = 0, seconds = 0, userSeconds = 0, systemSeconds = 0 } = line;
  if (datagrams === 0) throw new Error(`expected datagrams of ${DATAGRAM_BYTES} bytes, got none`);
  return {
    rate: datagrams / seconds,
    userUs: (userSeconds * 1e6) / datagrams,
    systemUs: (systemSeconds * 1e6) / datagrams,
    cpuUs: ((userSeconds + systemSeconds) * 1e6) / datagrams,
    datagramsPerCall: datagrams / calls,
    arrived: undefined,
  };
}
