/**
 * Readiness figures: what a receiver takes when it is the limit, and how fast it answers when it
 * is idle or in a ping-pong. All peers in one run, in fresh processes, in turn; medians.
 *
 *     npm run bench:readiness [-- --rounds 5 --seconds 2]
 */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

const SIZE = 1200;
const IDLE_GAP_US = 300;
const IDLE_TRIPS = 3_000;
const PING_PONG_TRIPS = 20_000;

const reference = join(mkdtempSync(join(tmpdir(), "datagram-bench-")), "reference");
run(["gcc", "-O2", "-o", reference, join(import.meta.dir, "reference.c")]);

interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Record<string, string>;
}

const peer = (file: string) => [process.execPath, join(import.meta.dir, "peers", file)];
const contenders: readonly Contender[] = [
  { name: "Bun.udpSocket", command: peer("bun-udp-socket.ts") },
  { name: "C, recvmmsg of 64", command: [reference] },
  { name: "datagram-socket", command: peer("datagram-socket.ts") },
  {
    name: "datagram-socket, thread",
    command: peer("datagram-socket.ts"),
    env: { DATAGRAM_SOCKET_READINESS: "thread" },
  },
  {
    name: "datagram-socket, portable",
    command: peer("datagram-socket.ts"),
    env: { DATAGRAM_SOCKET_BACKEND: "portable" },
  },
];

interface Sample {
  readonly receiveRate: number;
  readonly userUs: number;
  readonly systemUs: number;
  readonly datagramsPerCall: number;
  readonly idleP50Us: number;
  readonly idleP99Us: number;
  readonly pingPongP50Us: number;
  readonly pingPongP99Us: number;
}

const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
for (let round = 0; round < rounds; round++) {
  const order = round % 2 === 0 ? contenders : contenders.toReversed();
  for (const contender of order) samples.get(contender.name)?.push(await measure(contender));
}

const medians = new Map([...samples].map(([name, list]) => [name, medianOfEach(list)] as const));
const base = medians.get("Bun.udpSocket") as Sample;
const limit = medians.get("C, recvmmsg of 64") as Sample;

console.log(`medians of ${rounds} rounds, ${SIZE} bytes, loopback, GSO sender`);
console.table(
  Object.fromEntries(
    [...medians].map(([name, m]) => [
      name,
      {
        "receive M/s": (m.receiveRate / 1e6).toFixed(2),
        "of Bun": ratio(m.receiveRate, base.receiveRate),
        "of C": ratio(m.receiveRate, limit.receiveRate),
        "user us": m.userUs.toFixed(3),
        "system us": m.systemUs.toFixed(2),
        "per call": m.datagramsPerCall.toFixed(1),
        "idle p50 us": m.idleP50Us.toFixed(1),
        "idle of Bun": ratio(m.idleP50Us, base.idleP50Us),
        "idle p99": m.idleP99Us.toFixed(0),
        "ping-pong p50 us": m.pingPongP50Us.toFixed(1),
        "ping of Bun": ratio(m.pingPongP50Us, base.pingPongP50Us),
        "ping p99": m.pingPongP99Us.toFixed(0),
      },
    ]),
  ),
);

async function measure(contender: Contender): Promise<Sample> {
  const received = await measureSink(contender);
  const echo = start([...contender.command, "echo"], contender.env);
  const port = String((await echo.next()).port);
  const idle = run([reference, "ping", port, String(IDLE_TRIPS), String(IDLE_GAP_US)]);
  const pingPong = run([reference, "ping", port, String(PING_PONG_TRIPS), "0"]);
  echo.kill();
  return {
    ...received,
    idleP50Us: Number(idle.p50Us),
    idleP99Us: Number(idle.p99Us),
    pingPongP50Us: Number(pingPong.p50Us),
    pingPongP99Us: Number(pingPong.p99Us),
  };
}

async function measureSink(contender: Contender) {
  const sink = start([...contender.command, "sink", String(seconds)], contender.env);
  const port = String((await sink.next()).port);
  // Longer than the sink: a sink that starves would look fast.
  const flood = start([reference, "flood", port, String(SIZE), String(seconds + 1)]);
  const result = await sink.next();
  flood.kill();
  const datagrams = Number(result.datagrams);
  return {
    receiveRate: datagrams / Number(result.seconds),
    userUs: (Number(result.userSeconds) * 1e6) / datagrams,
    systemUs: (Number(result.systemSeconds) * 1e6) / datagrams,
    datagramsPerCall: datagrams / Number(result.calls),
  };
}

type Line = Record<string, number>;

/** A process that prints JSON objects, one a line. */
function start(command: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([...command], {
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, ...env, NODE_NO_WARNINGS: "1" },
  });
  const lines = readLines(child.stdout);
  return {
    async next(): Promise<Line> {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command.join(" ")} ended without a result`);
      return JSON.parse(value) as Line;
    },
    kill: () => child.kill(),
  };
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** Runs a program to its end: the JSON it printed, if any. */
function run(command: readonly string[]): Line {
  const { exitCode, stdout } = Bun.spawnSync([...command], { stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} expected exit code 0, got ${exitCode}`);
  const text = stdout.toString().trim();
  return text === "" ? {} : (JSON.parse(text) as Line);
}

function medianOfEach(list: readonly Sample[]): Sample {
  const keys = Object.keys(list[0] as Sample) as (keyof Sample)[];
  return Object.fromEntries(
    keys.map((key) => [key, median(list.map((sample) => sample[key]))]),
  ) as unknown as Sample;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}

function ratio(value: number, base: number): string {
  return `${(value / base).toFixed(2)}x`;
}
