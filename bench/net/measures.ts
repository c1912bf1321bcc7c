/** Measures one contender in one role: runs it together with its load, and returns its figures. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PREFIX, segmentsOf } from "./datagrams.ts";
import {
  type Line,
  type Program,
  type Running,
  runLoad,
  startLoad,
  startOnAllProcessors,
  startRole,
} from "./processes.ts";
import { type Usage, usageOf, usedBetween } from "./usage.ts";

/** Figures by name, with the unit last: see bench/results.ts. */
export type Figures = Record<string, number>;

/** The length of the datagrams, and the length of the measurement. */
export interface TimedOptions {
  readonly bytes: number;
  readonly seconds: number;
}

/** The length of the datagrams, and the number of times that the queue is filled and emptied. */
export interface DrainOptions {
  readonly bytes: number;
  readonly laps: number;
}

/** Round trips before a server is measured: without pauses, and with pauses of `WARM_UP_GAP_US`. */
const WARM_UP_TRIPS = 10_000;
const WARM_UP_IDLE_TRIPS = 1500;
const WARM_UP_GAP_US = 300;
/**
 * How long a server of many flows is warmed up: a multiple of the measurement, which makes 2 s. In the
 * first 1.5 s a reply of this library took 16 to 55 µs of user time, most of it the compiler's, and
 * later 5.
 */
const WARM_UP_MEASUREMENTS = 5;
/** Requests the default receive buffer size. */
export const DEFAULT_RECEIVE_BYTES = 0;
/** The receive buffer size of relays and sinks. Three GSO messages would fill the default one. */
const FLOOD_RECEIVE_BYTES = 2 ** 20;
/** The receive buffer size for drains, and for the many flows of an echo scenario. */
const LONG_RECEIVE_BYTES = 4 * 2 ** 20;
/** The maximum that the kernel charges a receive buffer per datagram, in addition to its bytes. */
const OVERHEAD_BYTES = 1360;
const DRAIN_MESSAGES_MAX = 60;

const BYTES_PER_MIB = 2 ** 20;

/** A Unix sender is timed for this fraction of its receiver's time, so that it finishes first. */
const SENDER_FRACTION = 0.6;

/** Measures receiving from a GSO flood. */
export async function measureSink(
  contender: Program,
  options: TimedOptions,
  receiveBytes: number = FLOOD_RECEIVE_BYTES,
): Promise<Figures> {
  await using sink = startRole(contender, options, "sink", options.seconds, receiveBytes);
  return throughput(await resultUnderFlood(sink, options.bytes), options.bytes);
}

/** Measures receiving with many sockets, which get one datagram each in turn. */
export async function measureSinks(
  contender: Program,
  { bytes, seconds, sockets }: TimedOptions & { readonly sockets: number },
): Promise<Figures> {
  await using sink = startRole(
    contender,
    { bytes },
    "sink",
    seconds,
    DEFAULT_RECEIVE_BYTES,
    sockets,
  );
  const { ports } = await sink.next<{ ports: number[] }>();
  await using _load = startLoad(bytes, "spread", ...ports);
  return throughput(await sink.next(), bytes);
}

/** Measures relaying a GSO flood. */
export function measureRelay(contender: Program, options: TimedOptions): Promise<Figures> {
  const collector = { sockets: 1, prefixBytes: PREFIX.length };
  return throughputTo(collector, options.bytes, async ([port]) => {
    const role = ["relay", options.seconds, FLOOD_RECEIVE_BYTES, port as number];
    await using relay = startRole(contender, options, ...role);
    return await resultUnderFlood(relay, options.bytes);
  });
}

/** Measures sending to one peer or to many. */
export function measureSender(
  contender: Program,
  options: TimedOptions & { readonly peers: number },
): Promise<Figures> {
  const collector = { sockets: options.peers, prefixBytes: 0 };
  return throughputTo(collector, options.bytes, async (ports) => {
    await using sender = startRole(contender, options, "send", options.seconds, ...ports);
    return await sender.next();
  });
}

/** Measures the time per datagram of emptying a full queue. */
export async function measureSinkDrain(
  contender: Program,
  options: DrainOptions,
): Promise<Figures> {
  const { bytes, laps } = options;
  const messages = drainMessages(bytes);
  const role = ["drain", laps, LONG_RECEIVE_BYTES, messages * segmentsOf(bytes)];
  await using sink = startRole(contender, options, ...role);
  return (await resultOfDrain(sink, bytes, messages)).figures;
}

/** Measures the time per datagram of relaying a full queue to a port. */
export async function measureRelayDrain(
  contender: Program,
  options: DrainOptions,
): Promise<Figures> {
  const { bytes, laps } = options;
  const messages = drainMessages(bytes);
  const queue = [LONG_RECEIVE_BYTES, messages * segmentsOf(bytes)];
  const collector = { sockets: 1, prefixBytes: PREFIX.length };
  const { result } = await withCollector(collector, bytes, async ([port]) => {
    const role = ["relay-drain", laps, ...queue, port as number];
    await using relay = startRole(contender, options, ...role);
    return await resultOfDrain(relay, bytes, messages);
  });
  return result.figures;
}

/**
 * Measures `trips` round trips to each contender, with a pause after each. The load alternates
 * between the contenders in short blocks, since a wake-up takes twice as long for seconds at times.
 */
export function measurePings(
  contenders: readonly Program[],
  {
    bytes,
    trips,
    gapUs,
  }: { readonly bytes: number; readonly trips: number; readonly gapUs: number },
): Promise<Figures[]> {
  return measureEchoes(contenders, bytes, (ports) => ["ping", trips, gapUs, ...ports]);
}

/** Measures the round trips of many flows, each with one datagram in flight. */
export async function measureFlows(
  contender: Program,
  { bytes, seconds, flows }: TimedOptions & { readonly flows: number },
): Promise<Figures> {
  const roleFor = ([port = 0]: readonly number[]) => ["flows", port, flows, seconds];
  const warmUp = (port: number) => [["flows", port, flows, WARM_UP_MEASUREMENTS * seconds]];
  return (await measureEchoes([contender], bytes, roleFor, warmUp))[0] as Figures;
}

/** Measures two processes of a contender that use a Unix socket: one sends, the other receives. */
export async function measureUnix(contender: Program, options: TimedOptions): Promise<Figures> {
  const { bytes, seconds } = options;
  const folder = mkdtempSync(join(tmpdir(), "datagram-bench-"));
  const path = join(folder, "socket");
  try {
    await using sink = startRole(contender, options, "unix-sink", seconds, path);
    await sink.next();
    const role = ["unix-send", seconds * SENDER_FRACTION, path];
    await using sender = startRole(contender, { bytes, half: "load" }, ...role);
    const sent = throughput(await sender.next(), bytes);
    const received = throughput(await sink.next(), bytes);
    const sum = (name: "userUs" | "systemUs" | "cpuUs" | "memoryGrowthBytes") =>
      (received[name] as number) + (sent[name] as number);
    return {
      ...received,
      userUs: sum("userUs"),
      systemUs: sum("systemUs"),
      cpuUs: sum("cpuUs"),
      memoryGrowthBytes: sum("memoryGrowthBytes"),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Measures the time from the start of a contender to its first datagram, and its memory then. Uses
 * all processors: there is no concurrent load, and runtimes start several threads.
 */
export async function measureStart(contender: Program, bytes: number): Promise<Figures> {
  await using started = startOnAllProcessors(contender, bytes, "start", DEFAULT_RECEIVE_BYTES);
  const { port } = await started.next();
  runLoad(bytes, "fill", port as number, 1);
  const { ms, residentBytes } = await started.next();
  return { ms: ms as number, residentMiB: (residentBytes as number) / BYTES_PER_MIB };
}

/** The arguments of the load generator: a role, and what it needs. */
type Role = (string | number)[];

/** Warms a server up by one request at a time. */
const oneAtATime = (port: number): Role[] => [
  ["ping", WARM_UP_TRIPS, 0, port],
  ["ping", WARM_UP_IDLE_TRIPS, WARM_UP_GAP_US, port],
];

/** Measures round trips to servers. `roleFor` returns the role of the load for their ports. */
async function measureEchoes(
  contenders: readonly Program[],
  bytes: number,
  roleFor: (ports: readonly number[]) => Role,
  warmUp: (port: number) => Role[] = oneAtATime,
): Promise<Figures[]> {
  await using stack = new AsyncDisposableStack();
  const servers: Running[] = [];
  const ports: number[] = [];
  for (const contender of contenders) {
    const server = stack.use(startRole(contender, { bytes }, "echo", LONG_RECEIVE_BYTES));
    const port = (await server.next()).port as number;
    // Until this is done, the runtime's compiler uses CPU time that is not the cost of a reply.
    for (const role of warmUp(port)) runLoad(bytes, ...role);
    servers.push(server);
    ports.push(port);
  }
  const before = servers.map(({ pid }) => usageOf(pid));
  const results = runLoad(bytes, ...roleFor(ports));
  return servers.map(({ pid }, i) =>
    echoFigures(results[i] ?? {}, before[i] as Usage, usageOf(pid)),
  );
}

function echoFigures(result: Line, before: Usage, after: Usage): Figures {
  const used = usedBetween(before, after);
  // The CPU time includes round trips of the warm-up, so it is divided by all of them.
  const { all = 0, trips = 0, lost = 0, seconds = 1, loadCpu, p50Us, p99Us, p999Us } = result;
  return {
    p50Us: p50Us as number,
    p99Us: p99Us as number,
    p999Us: p999Us as number,
    rate: trips / seconds,
    userUs: used.userUs / all,
    systemUs: used.systemUs / all,
    cpuUs: used.cpuUs / all,
    arrived: trips / (trips + lost),
    // A load that waits for one reply at a time is never busy.
    ...(loadCpu !== undefined && loadCpu > 0 && { loadCpu }),
    memoryGrowthBytes: after.residentBytes - before.residentBytes,
  };
}

/** Floods a receiver until it prints its result. */
async function resultUnderFlood(receiver: Running, bytes: number, sockets = 1): Promise<Line> {
  const { port } = await receiver.next();
  await using _flood = startLoad(bytes, "flood", port as number, sockets);
  return await receiver.next();
}

/** Fills the queue of a receiver each time that it prints its port, until it prints its results. */
async function resultOfDrain(
  receiver: Running,
  bytes: number,
  messages: number,
): Promise<{ readonly figures: Figures; readonly total: number }> {
  for (;;) {
    const line = await receiver.next();
    if (line.port === undefined) {
      const { rate: _, gbitPerS: __, ...costs } = throughput(line, bytes);
      const { ns } = await receiver.next();
      return { figures: { ...costs, ns: ns as number }, total: line.total as number };
    }
    runLoad(bytes, "fill", line.port, messages);
    receiver.resume();
  }
}

/** The receiver that checks what a contender sends. */
interface Collector {
  readonly sockets: number;
  readonly prefixBytes: number;
}

/** Returns the figures of `send`, which sends to the collector, and the fraction that arrived. */
async function throughputTo(
  collector: Collector,
  bytes: number,
  send: (ports: readonly number[]) => Promise<Line>,
): Promise<Figures> {
  const { result, datagrams } = await withCollector(collector, bytes, send);
  return { ...throughput(result, bytes), arrived: datagrams / Number(result.total) };
}

/**
 * Calls `send` with the ports of a collector. Returns its result, and the number of datagrams that
 * arrived.
 *
 * @throws Error if any datagram was altered, or none arrived.
 */
async function withCollector<Result>(
  { sockets, prefixBytes }: Collector,
  bytes: number,
  send: (ports: readonly number[]) => Promise<Result>,
): Promise<{ readonly result: Result; readonly datagrams: number }> {
  await using collector = startLoad(bytes, "collect", sockets, prefixBytes);
  const result = await send((await collector.next<{ ports: number[] }>()).ports);
  collector.endInput();
  const { datagrams = 0, bad } = await collector.next();
  if (bad !== 0 || datagrams === 0) {
    throw new Error(`${datagrams} datagrams arrived, of which ${bad} were altered`);
  }
  return { result, datagrams };
}

/** Returns the number of messages that fit in the receive buffer that is granted (socket(7)). */
function drainMessages(bytes: number): number {
  const granted = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
  // The kernel doubles the requested value.
  const room = 2 * Math.min(LONG_RECEIVE_BYTES, granted);
  const fitting = Math.floor(room / (segmentsOf(bytes) * (bytes + OVERHEAD_BYTES)));
  return Math.max(1, Math.min(fitting, DRAIN_MESSAGES_MAX));
}

/** Returns the figures of a result that peers/meter.ts or reference/measurement.c printed. */
export function throughput(line: Line, bytes: number): Figures {
  const { datagrams = 0, calls, seconds = 0, userSeconds = 0, systemSeconds = 0 } = line;
  if (datagrams === 0) throw new Error(`expected datagrams of ${bytes} bytes, got none`);
  const rate = datagrams / seconds;
  return {
    rate,
    gbitPerS: (rate * bytes * 8) / 1e9,
    userUs: (userSeconds * 1e6) / datagrams,
    systemUs: (systemSeconds * 1e6) / datagrams,
    cpuUs: ((userSeconds + systemSeconds) * 1e6) / datagrams,
    ...(calls !== undefined && { datagramsPerCall: datagrams / calls }),
    memoryGrowthBytes: line.memoryGrowthBytes ?? 0,
  };
}
