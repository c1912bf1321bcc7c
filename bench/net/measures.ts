/** Runs one contender in one role, with what it needs on the other side, and hands its figures on. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PREFIX, segmentsOf } from "./datagrams.ts";
import {
  type Line,
  type Program,
  type Running,
  runLoad,
  startEverywhere,
  startLoad,
  startRole,
} from "./processes.ts";
import { type Usage, usageOf, usedBetween } from "./usage.ts";

/** Figures by name, the unit last: see bench/results.ts. */
export type Figures = Record<string, number>;

/** What is measured, and for how long. */
export interface Where {
  /** Of a datagram. */
  readonly bytes: number;
  readonly seconds: number;
}

/** Round trips that a server answers before it is measured: at once, and after pauses. */
const WARM_UP_TRIPS = 10_000;
const WARM_UP_IDLE_TRIPS = 1500;
const WARM_UP_GAP_US = 300;
/** The receive buffer that a socket has by default. */
export const DEFAULT_RECEIVE_BYTES = 0;
/** Bytes of the receive buffer of relays and sinks: with the default, 3 messages by GSO fill it. */
const FLOOD_RECEIVE_BYTES = 2 ** 20;
/** Bytes of the receive buffer that many flows share, or that a queue is filled in. */
const LONG_RECEIVE_BYTES = 4 * 2 ** 20;
/** What a datagram takes of it beside its bytes, as the kernel counts, at the most. */
const OVERHEAD_BYTES = 1360;
const DRAIN_MESSAGES_MAX = 60;

const BYTES_A_MIB = 2 ** 20;

/** A sender is measured for this part of its receiver's time, so that it is done before. */
const SENDER_PART = 0.6;

/** What a contender receives of a flood by GSO, for so long. */
export async function measureSink(
  contender: Program,
  where: Where,
  receiveBytes: number = FLOOD_RECEIVE_BYTES,
): Promise<Figures> {
  await using sink = startRole(contender, where, "sink", where.seconds, receiveBytes);
  return throughput(await flooded(sink, where.bytes), where.bytes);
}

/** What a contender receives with so many sockets, one datagram each in turn. */
export async function measureSinks(
  contender: Program,
  { bytes, seconds, sockets }: Where & { readonly sockets: number },
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

/** What a contender relays of a flood by GSO, for so long. */
export function measureRelay(contender: Program, where: Where): Promise<Figures> {
  const collector = { sockets: 1, prefixBytes: PREFIX.length };
  return throughputTo(collector, where, async ([port]) => {
    const role = ["relay", where.seconds, FLOOD_RECEIVE_BYTES, port as number];
    await using relay = startRole(contender, where, ...role);
    return await flooded(relay, where.bytes);
  });
}

/** What a contender sends for so long, to one peer or to many. */
export function measureSender(
  contender: Program,
  where: Where & { readonly peers: number },
): Promise<Figures> {
  return throughputTo({ sockets: where.peers, prefixBytes: 0 }, where, async (ports) => {
    await using sender = startRole(contender, where, "send", where.seconds, ...ports);
    return await sender.next();
  });
}

/** How fast a queue is emptied that is full. */
export interface Drain {
  readonly bytes: number;
  readonly laps: number;
}

/** What a datagram costs that is taken out of a queue that is full. */
export async function measureSinkDrain(contender: Program, drain: Drain): Promise<Figures> {
  const messages = drainMessages(drain.bytes);
  const role = ["drain", drain.laps, LONG_RECEIVE_BYTES, messages * segmentsOf(drain.bytes)];
  await using sink = startRole(contender, drain, ...role);
  return (await drained(sink, drain.bytes, messages)).figures;
}

/** What a datagram costs that is taken out of a queue that is full, and on to a port. */
export async function measureRelayDrain(contender: Program, drain: Drain): Promise<Figures> {
  const messages = drainMessages(drain.bytes);
  const queue = [LONG_RECEIVE_BYTES, messages * segmentsOf(drain.bytes)];
  const collector = { sockets: 1, prefixBytes: PREFIX.length };
  const { result } = await collected(collector, drain.bytes, async ([port]) => {
    const role = ["relay-drain", drain.laps, ...queue, port as number];
    await using relay = startRole(contender, drain, ...role);
    return await drained(relay, drain.bytes, messages);
  });
  return result.figures;
}

/**
 * Round trips to contenders that answer, `trips` to each with a pause after each: to one after the
 * other in short turns, since a wake-up takes twice as long at times, for seconds.
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

/** Round trips of many flows, each with one datagram on the way. */
export async function measureFlows(
  contender: Program,
  { bytes, seconds, flows }: Where & { readonly flows: number },
): Promise<Figures> {
  const tool = ([port]: readonly number[]) => ["flows", port as number, flows, seconds];
  return (await measureEchoes([contender], bytes, tool))[0] as Figures;
}

/** What two processes of a contender move over a Unix socket: one sends, one receives. */
export async function measureUnix(contender: Program, where: Where): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), "datagram-bench-"));
  const path = join(folder, "socket");
  try {
    await using sink = startRole(contender, where, "unix-sink", where.seconds, path);
    await sink.next();
    const role = ["unix-send", where.seconds * SENDER_PART, path];
    await using sender = startRole(contender, { ...where, half: "load" }, ...role);
    const sent = throughput(await sender.next(), where.bytes);
    const received = throughput(await sink.next(), where.bytes);
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
 * How long a contender takes from its start to its first datagram, and the memory it has then. On
 * all processors: there is no load beside it, and runtimes load on several threads.
 */
export async function measureStart(contender: Program, bytes: number): Promise<Figures> {
  await using started = startEverywhere(contender, bytes, "start", DEFAULT_RECEIVE_BYTES);
  const { port } = await started.next();
  // More than one message would do no harm: the first ends it.
  runLoad(bytes, "fill", port as number, 1);
  const { ms, residentBytes } = await started.next();
  return { ms: ms as number, residentMiB: (residentBytes as number) / BYTES_A_MIB };
}

/** What `tool` measures of contenders that answer, of each. */
async function measureEchoes(
  contenders: readonly Program[],
  bytes: number,
  tool: (ports: readonly number[]) => (string | number)[],
): Promise<Figures[]> {
  await using echoes = new AsyncDisposableStack();
  const all: Running[] = [];
  const ports: number[] = [];
  for (const contender of contenders) {
    const echo = echoes.use(startRole(contender, { bytes }, "echo", LONG_RECEIVE_BYTES));
    const port = (await echo.next()).port as number;
    // A server that has run for a while: what is compiled meanwhile is not what an answer costs.
    runLoad(bytes, "ping", WARM_UP_TRIPS, 0, port);
    runLoad(bytes, "ping", WARM_UP_IDLE_TRIPS, WARM_UP_GAP_US, port);
    all.push(echo);
    ports.push(port);
  }
  const before = all.map(({ pid }) => usageOf(pid));
  const answers = runLoad(bytes, ...tool(ports));
  return all.map(({ pid }, i) => echoFigures(answers[i] ?? {}, before[i] as Usage, usageOf(pid)));
}

function echoFigures(answers: Line, before: Usage, after: Usage): Figures {
  const used = usedBetween(before, after);
  // Some are answered before the time starts, and cost as much.
  const { all = 0, trips = 0, lost = 0, seconds = 1, p50Us, p99Us, p999Us } = answers;
  return {
    p50Us: p50Us as number,
    p99Us: p99Us as number,
    p999Us: p999Us as number,
    rate: trips / seconds,
    userUs: used.userUs / all,
    systemUs: used.systemUs / all,
    cpuUs: used.cpuUs / all,
    arrived: trips / (trips + lost),
    memoryGrowthBytes: after.residentBytes - before.residentBytes,
  };
}

/** The result of a receiver that is sent to as fast as it goes, until it has what it wants. */
async function flooded(receiver: Running, bytes: number, sockets = 1): Promise<Line> {
  const { port } = await receiver.next();
  await using _flood = startLoad(bytes, "flood", port as number, sockets);
  return await receiver.next();
}

/** Fills the queue of a receiver whenever it asks for it, and takes its results. */
async function drained(
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
    receiver.answer();
  }
}

/** What receives and checks what is sent. */
interface Collector {
  readonly sockets: number;
  readonly prefixBytes: number;
}

async function throughputTo(
  collector: Collector,
  { bytes }: Where,
  use: (ports: readonly number[]) => Promise<Line>,
): Promise<Figures> {
  const { result, datagrams } = await collected(collector, bytes, use);
  return { ...throughput(result, bytes), arrived: datagrams / Number(result.total) };
}

/** What `use` answered that sent to the ports it got, and how many datagrams arrived there. */
async function collected<Result>(
  { sockets, prefixBytes }: Collector,
  bytes: number,
  use: (ports: readonly number[]) => Promise<Result>,
): Promise<{ readonly result: Result; readonly datagrams: number }> {
  await using collector = startLoad(bytes, "collect", sockets, prefixBytes);
  const result = await use((await collector.next<{ ports: number[] }>()).ports);
  collector.endInput();
  const { datagrams = 0, bad } = await collector.next();
  if (bad !== 0 || datagrams === 0) {
    throw new Error(`${datagrams} datagrams arrived, ${bad} of them not as they were sent`);
  }
  return { result, datagrams };
}

/** How many messages fit in the receive buffer that the kernel grants (socket(7)). */
function drainMessages(bytes: number): number {
  const granted = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
  const room = 2 * Math.min(LONG_RECEIVE_BYTES, granted);
  const fitting = Math.floor(room / (segmentsOf(bytes) * (bytes + OVERHEAD_BYTES)));
  return Math.max(1, Math.min(fitting, DRAIN_MESSAGES_MAX));
}

/** The figures of what peers/meter.ts and reference.c print. */
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
