/**
 * Offload figures: what sending, receiving and relaying cost where the kernel moves many datagrams
 * in a message, beside `Bun.udpSocket` and beside C. All contenders in one run, in fresh
 * processes, in turn; ratios are taken within a round, and of those the median.
 *
 *     npm run bench:offload [-- --rounds 5 --seconds 0.8 --quick --json FILE]
 */

import { cpus, loadavg, release } from "node:os";
import { parseArgs } from "node:util";
import { BATCH, DATAGRAM_BYTES } from "./datagrams.ts";
import {
  measureEcho,
  measureRelay,
  measureRelayDrain,
  measureSender,
  measureSink,
  measureSinkDrain,
  type Throughput,
  type Trips,
} from "./measures.ts";
import { type Contender, compileReference, peer, raisePriority } from "./processes.ts";
import { median, medianOfEach, ratio } from "./statistics.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const seconds = Number(values.seconds ?? (values.quick ? 0.3 : 0.8));
const laps = values.quick ? 10 : 30;
const idleRuns = [{ trips: values.quick ? 1000 : 3000, gapUs: 300 }];

const reference = compileReference();
raisePriority();
const [loadBefore = 0] = loadavg();
const offload = (state: "on" | "off") => ({ DATAGRAM_SOCKET_OFFLOAD: state });

const BUN: Contender = { name: "Bun.udpSocket", command: peer("bun-udp-socket.ts") };
const C_PLAIN: Contender = { name: "C, recvmmsg/sendmmsg", command: [reference, "plain"] };
const C_OFFLOAD: Contender = { name: "C, GRO/GSO", command: [reference, "offload"] };
const MANY: Contender = {
  name: "recvMany/sendMany",
  command: peer("datagram-socket.ts"),
  env: offload("on"),
};
const MANY_OFF: Contender = { ...MANY, name: "the same, offload off", env: offload("off") };
const BATCHES: Contender = {
  name: "recvBatch/sendBatch",
  command: peer("datagram-socket-batch.ts"),
  env: offload("on"),
};

/** What is told of a contender in a round: which of these, depends on the path. */
type Sample = Partial<Throughput & Trips & { readonly drainNs: number }>;

/** A path through the library, and who else goes it. */
interface Path {
  readonly name: string;
  readonly contenders: readonly Contender[];
  measure(contender: Contender): Promise<Sample>;
}

const SEND: Path = {
  name: `send ${BATCH}, connected, one peer`,
  contenders: [BUN, C_OFFLOAD, MANY],
  measure: (contender) => measureSender(contender, { seconds, peers: 1 }),
};
const RECEIVE: Path = {
  name: "receive from a GSO sender",
  contenders: [BUN, C_PLAIN, C_OFFLOAD, MANY, BATCHES],
  measure: async (contender) => ({
    ...(await measureSink(contender, { seconds })),
    drainNs: await measureSinkDrain(contender, laps),
  }),
};
const RELAY: Path = {
  name: "relay, 8 bytes in front of each",
  contenders: [BUN, C_PLAIN, C_OFFLOAD, MANY, BATCHES],
  measure: async (contender) => ({
    ...(await measureRelay(contender, seconds)),
    drainNs: await measureRelayDrain(contender, laps),
  }),
};
const SINGLES: Path = {
  name: `send to ${BATCH} peers, one each`,
  contenders: [BUN, C_PLAIN, MANY],
  measure: (contender) => measureSender(contender, { seconds, peers: BATCH }),
};
const IDLE: Path = {
  name: "idle round trip",
  contenders: [MANY_OFF, MANY],
  measure: async (contender) => (await measureEcho(contender, idleRuns))[0] as Trips,
};
const PATHS = [SEND, RECEIVE, RELAY, SINGLES, IDLE];

/** What a ratio is of: more is better in all. */
type Figure = "rate" | "drain" | "CPU" | "p50";

/** How many times as good as `other` is `mine`; absent where it was not measured. */
const FIGURES: Record<Figure, (mine: Sample, other: Sample) => number> = {
  rate: (mine, other) => Number(mine.rate) / Number(other.rate),
  drain: (mine, other) => Number(other.drainNs) / Number(mine.drainNs),
  CPU: (mine, other) => Number(other.cpuUs) / Number(mine.cpuUs),
  p50: (mine, other) => Number(other.p50Us) / Number(mine.p50Us),
};

/** What is to be reached. */
interface Target {
  readonly path: Path;
  readonly mine: Contender;
  readonly other: Contender;
  readonly atLeast: number;
  /** The figure that decides. Beside C a flood is no match: both wait for the sender. */
  readonly figure: Figure;
}

const TARGETS: readonly Target[] = [
  { path: SEND, mine: MANY, other: BUN, atLeast: 8, figure: "rate" },
  { path: SEND, mine: MANY, other: C_OFFLOAD, atLeast: 0.85, figure: "rate" },
  { path: RECEIVE, mine: MANY, other: BUN, atLeast: 3, figure: "rate" },
  { path: RECEIVE, mine: MANY, other: C_OFFLOAD, atLeast: 0.8, figure: "drain" },
  { path: RECEIVE, mine: BATCHES, other: C_OFFLOAD, atLeast: 0.9, figure: "drain" },
  { path: RELAY, mine: BATCHES, other: BUN, atLeast: 12, figure: "rate" },
  { path: RELAY, mine: BATCHES, other: C_PLAIN, atLeast: 8, figure: "rate" },
  { path: RELAY, mine: BATCHES, other: C_OFFLOAD, atLeast: 0.7, figure: "rate" },
  { path: SINGLES, mine: MANY, other: BUN, atLeast: 1, figure: "rate" },
  // Unchanged, as far as a median of a few rounds can tell.
  { path: IDLE, mine: MANY, other: MANY_OFF, atLeast: 0.95, figure: "p50" },
];

const samples = new Map<Path, Map<Contender, Sample[]>>();
for (const path of PATHS) samples.set(path, new Map(path.contenders.map((one) => [one, []])));
for (let round = 0; round < rounds; round++) {
  console.error(`round ${round + 1} of ${rounds}`);
  for (const path of PATHS) {
    const order = round % 2 === 0 ? path.contenders : path.contenders.toReversed();
    for (const contender of order) {
      samplesOf(path, contender).push(await path.measure(contender));
    }
  }
}

console.log(`\n${DATAGRAM_BYTES} bytes, loopback, medians of ${rounds} rounds of ${seconds} s`);
if (loadBefore > 0.5) {
  console.log(
    `the machine was busy before (load ${loadBefore.toFixed(1)}): run it again when idle`,
  );
}
for (const path of PATHS) printPath(path);
printTargets();
if (values.json !== undefined) await Bun.write(values.json, JSON.stringify(report(), null, 2));

function samplesOf(path: Path, contender: Contender): Sample[] {
  return samples.get(path)?.get(contender) as Sample[];
}

/** The median of the ratios within each round: slow spells of the machine hit both. */
function pairedRatio({ path, mine, other }: Target, figure: Figure): number {
  const others = samplesOf(path, other);
  const ratios = samplesOf(path, mine).map((sample, round) =>
    FIGURES[figure](sample, others[round] as Sample),
  );
  return median(ratios);
}

function printPath(path: Path): void {
  console.log(`\n${path.name}`);
  const rows = path.contenders.map((contender) => {
    const sample = medianOfEach(samplesOf(path, contender));
    const { rate, userUs, systemUs, datagramsPerCall, arrived, drainNs, p50Us, p99Us } = sample;
    const row = {
      ...(rate !== undefined && {
        "M/s": (rate / 1e6).toFixed(2),
        "user us": userUs?.toFixed(3),
        "system us": systemUs?.toFixed(3),
        "per call": datagramsPerCall?.toFixed(0),
      }),
      ...(arrived && { "arrived %": (100 * arrived).toFixed(0) }),
      ...(drainNs !== undefined && { "drain ns": drainNs.toFixed(0) }),
      ...(p50Us !== undefined && { "p50 us": p50Us.toFixed(1), "p99 us": p99Us?.toFixed(0) }),
    };
    return [contender.name, row];
  });
  console.table(Object.fromEntries(rows));
}

function printTargets(): void {
  console.log(`
How many times as good: "rate" is datagrams a second, for receivers under a flood; "drain" is the
time for a queue that was filled before, without a sender beside; "CPU" is user and system time of
a datagram; "p50" is the round trip. "of" says which one the target is held against.`);
  console.table(
    TARGETS.map((target) => {
      const { path, mine, other, atLeast, figure } = target;
      const show = (of: Figure) => {
        const value = pairedRatio(target, of);
        return Number.isNaN(value) ? "" : ratio(value, 1);
      };
      return {
        path: path.name,
        ours: mine.name,
        against: other.name,
        "at least": ratio(atLeast, 1),
        of: figure,
        rate: show("rate"),
        drain: show("drain"),
        CPU: show("CPU"),
        p50: show("p50"),
        met: pairedRatio(target, figure) >= atLeast ? "yes" : "NO",
      };
    }),
  );
}

function report(): object {
  const commit = Bun.spawnSync(["git", "rev-parse", "HEAD"], { cwd: import.meta.dir });
  return {
    date: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release(), loadBefore },
    bun: Bun.version,
    commit: commit.stdout.toString().trim(),
    settings: { rounds, seconds, laps, datagramBytes: DATAGRAM_BYTES },
    targets: TARGETS.map((target) => ({
      path: target.path.name,
      ours: target.mine.name,
      against: target.other.name,
      atLeast: target.atLeast,
      of: target.figure,
      ratio: pairedRatio(target, target.figure),
    })),
    samples: PATHS.map((path) => ({
      path: path.name,
      contenders: Object.fromEntries(
        path.contenders.map((contender) => [contender.name, samplesOf(path, contender)]),
      ),
    })),
  };
}
