/**
 * The network benchmarks: measures the datagram sockets of JavaScript runtimes, and C as the upper
 * limit. Every sample runs in new processes on processors of their own. Contenders alternate, for
 * several rounds, and check what they receive before they are timed.
 *
 *     npm run bench:net [-- --quick --growth --only SCENARIO,SUITE --peers PART_OF_NAME,PART
 *                        --rounds 3 --seconds 0.4 --json FILE]
 *
 * `--quick` measures datagrams of 1200 bytes in one short round, and does not replace the results.
 */

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { commandLine, describeRun } from "../machine.ts";
import type { Results, Sample } from "../results.ts";
import type { Contender } from "./contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";
import { GROWTH_SCENARIOS } from "./growth/scenarios.ts";
import { raisePriority } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import { Sampler } from "./sampling.ts";
import type { Effort, Point, Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios.ts";
import { printScenario, printTargets } from "./tables.ts";

const RESULTS_FILE = join(import.meta.dir, "../results/net.json");

/** The total time for repeated samples, so that a run takes about 15 minutes, or 2 if quick. */
const REPEAT_SECONDS = 30;
const QUICK_REPEAT_SECONDS = 8;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    growth: { type: "boolean", default: false },
    only: { type: "string" },
    peers: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    json: { type: "string" },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const effort: Effort = {
  seconds: Number(values.seconds ?? (values.quick ? 0.15 : 0.4)),
  laps: values.quick ? 40 : 150,
  idleTrips: values.quick ? 300 : 2500,
  pingPongTrips: values.quick ? 1000 : 5000,
};

const head = describeRun(commandLine("bench:net"));
const startMs = performance.now();
const scenarios = chosenScenarios();
await buildPrograms(
  scenarios.flatMap(({ points }) => points.map(({ bytes }) => bytes ?? [])).flat(),
);
await prepareContenders();
raisePriority();
printMissing();

const sampler = new Sampler(values.quick ? QUICK_REPEAT_SECONDS : REPEAT_SECONDS);
const samples: Sample[] = [];
/** The number of samples whose attempts all failed. */
let unmeasured = 0;
const roundsOf = (scenario: Scenario) => scenario.rounds?.(rounds) ?? rounds;
for (let round = 0; round < Math.max(...scenarios.map(roundsOf)); round++) {
  for (const scenario of scenarios.filter((scenario) => round < roundsOf(scenario))) {
    printProgress(`round ${round + 1} of ${roundsOf(scenario)}: ${scenario.name}`);
    await measureRound(scenario, round);
  }
}

const marked = samples.map((sample) => ({ ...sample, figures: sampler.mark(sample.figures) }));
for (const scenario of scenarios) printScenario(scenario, marked);
printTargets(marked);
if (sampler.failures.length > 0) console.log(`\nFailed attempts:\n${sampler.failures.join("\n")}`);
const minutes = ((performance.now() - startMs) / 60e3).toFixed(1);
console.log(`\n${head.machine.cpu}, ${head.machine.cores} processors, ${minutes} minutes`);

const { quick, growth, only, peers } = values;
const isPartial = quick || growth || only !== undefined || peers !== undefined;
// The results of a partial run would replace those of a full run, so they need an explicit file.
await writeResults(values.json ?? (isPartial ? undefined : RESULTS_FILE), {
  ...head,
  samples: marked,
});
process.exit(unmeasured > 0 ? 1 : 0);

async function writeResults(file: string | undefined, results: Results): Promise<void> {
  if (file === undefined) return console.log("results not written: use --json FILE");
  mkdirSync(dirname(file), { recursive: true });
  await Bun.write(file, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`written to ${file}`);
}

/** Measures a scenario point by point, so that the contenders of a point are close in time. */
async function measureRound(scenario: Scenario, round: number): Promise<void> {
  const { suite, name } = scenario;
  const isIncluded = ({ bytes }: Point) => !values.quick || bytes === DEFAULT_DATAGRAM_BYTES;
  for (const point of scenario.points.filter(isIncluded)) {
    const takingPart = scenario.contenders.filter(
      (contender) => isChosen(contender) && scenario.takesPart?.(contender, point) !== false,
    );
    const inOrder = round % 2 === 0 ? takingPart : takingPart.toReversed();
    const groups = scenario.isTogether ? [inOrder] : inOrder.map((contender) => [contender]);
    for (const group of groups) {
      const peers = group.map((contender) => contender.name);
      const label = `${name}, ${peers.join(", ")}, ${JSON.stringify(point)}`;
      const taken = await sampler.take(label, () => scenario.measure(group, point, effort));
      if (taken === undefined) unmeasured += group.length;
      for (const [i, figures] of (taken ?? []).entries()) {
        const peer = peers[i] as string;
        samples.push({ suite, scenario: name, peer, parameters: point, round, figures });
      }
    }
  }
}

/** Returns the scenarios that the options select. A quick run leaves out the growth scenarios. */
function chosenScenarios(): readonly Scenario[] {
  if (values.growth) return GROWTH_SCENARIOS;
  const all = values.quick && !values.only ? SCENARIOS : [...SCENARIOS, ...GROWTH_SCENARIOS];
  if (values.only === undefined) return all;
  // A name may contain a comma itself.
  const isOneName = all.some(({ name }) => name === values.only);
  const names = isOneName ? [values.only] : values.only.split(",");
  const isNamed = ({ name, suite }: Scenario) =>
    names.some((wanted) => wanted === suite || name === wanted || name.startsWith(`${wanted},`));
  const found = all.filter(isNamed);
  if (found.length > 0) return found;
  const known = all.map(({ name }) => `"${name}"`).join(", ");
  throw new Error(`--only expected some of ${known}, got "${values.only}"`);
}

function isChosen({ name, missing }: Contender): boolean {
  if (missing !== undefined) return false;
  const wanted = values.peers?.toLowerCase().split(",");
  return wanted?.some((part) => name.toLowerCase().includes(part.trim())) ?? true;
}

async function prepareContenders(): Promise<void> {
  const all = new Set(scenarios.flatMap(({ contenders }) => contenders));
  for (const contender of all) if (isChosen(contender)) await contender.prepare?.();
}

function printMissing(): void {
  const all = new Set(scenarios.flatMap(({ contenders }) => contenders));
  for (const { name, missing } of all) {
    if (missing !== undefined) console.log(`without ${name}: ${missing}`);
  }
}

function printProgress(text: string): void {
  const seconds = ((performance.now() - startMs) / 1e3).toFixed(0);
  console.error(`${seconds.padStart(4)} s  ${text}`);
}
