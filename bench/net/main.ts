/**
 * The network benchmarks: every datagram socket there is for JavaScript, and C as the limit, in
 * one run. Fresh processes on processors of their own, in turn, for several rounds; who receives
 * checks what comes before anything is timed.
 *
 *     npm run bench:net [-- --quick --growth --only SCENARIO,SUITE --peers PART_OF_NAME,PART
 *                        --rounds 3 --seconds 0.4 --json FILE]
 *
 * Quick: a look, of datagrams of 1200 bytes in one short round, of which nothing is kept.
 */

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { commandLine, describeRun } from "../machine.ts";
import type { Results, Sample } from "../results.ts";
import type { Contender } from "./contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";
import { GROWTH } from "./growth/scenarios.ts";
import { raisePriority } from "./processes.ts";
import { makePrograms } from "./programs.ts";
import { Sampler } from "./sampling.ts";
import type { Effort, Place, Scenario } from "./scenario.ts";
import { PATHS } from "./scenarios.ts";
import { printScenario, printTargets } from "./tables.ts";

const RESULTS_FILE = join(import.meta.dir, "../results/net.json");

/** How long samples are taken again, in all: the run is to be over in 10 minutes, or in 2. */
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
await makePrograms(
  scenarios.flatMap(({ places }) => places.map(({ bytes }) => bytes ?? [])).flat(),
);
raisePriority();
tellMissing();

const sampler = new Sampler(values.quick ? QUICK_REPEAT_SECONDS : REPEAT_SECONDS);
const samples: Sample[] = [];
/** Samples of which every attempt failed. */
let unmeasured = 0;
const roundsOf = (scenario: Scenario) => scenario.rounds?.(rounds) ?? rounds;
for (let round = 0; round < Math.max(...scenarios.map(roundsOf)); round++) {
  for (const scenario of scenarios.filter((scenario) => round < roundsOf(scenario))) {
    progress(`round ${round + 1} of ${roundsOf(scenario)}: ${scenario.name}`);
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
const isPart = quick || growth || only !== undefined || peers !== undefined;
await writeResults(values.json ?? (isPart ? undefined : RESULTS_FILE), {
  ...head,
  samples: marked,
});
process.exit(unmeasured > 0 ? 1 : 0);

/** A part of a run takes the place of a whole one only where somebody says so. */
async function writeResults(file: string | undefined, results: Results): Promise<void> {
  if (file === undefined) return console.log("not written: --json FILE says where to");
  mkdirSync(dirname(file), { recursive: true });
  await Bun.write(file, `${JSON.stringify(results, null, 2)}\n`);
  console.log(`written to ${file}`);
}

/** All of a scenario's contenders at each place, next to one another in time. */
async function measureRound(scenario: Scenario, round: number): Promise<void> {
  const { suite, name } = scenario;
  const isLookedAt = ({ bytes }: Place) => !values.quick || bytes === DEFAULT_DATAGRAM_BYTES;
  for (const place of scenario.places.filter(isLookedAt)) {
    const takers = scenario.contenders.filter(
      (contender) => isChosen(contender) && scenario.takesPart?.(contender, place) !== false,
    );
    const inOrder = round % 2 === 0 ? takers : takers.toReversed();
    const groups = scenario.isTogether ? [inOrder] : inOrder.map((contender) => [contender]);
    for (const group of groups) {
      const peers = group.map((contender) => contender.name);
      const what = `${name}, ${peers.join(", ")}, ${JSON.stringify(place)}`;
      const taken = await sampler.take(what, () => scenario.measure(group, place, effort));
      if (taken === undefined) unmeasured += group.length;
      for (const [i, figures] of (taken ?? []).entries()) {
        const peer = peers[i] as string;
        samples.push({ suite, scenario: name, peer, parameters: place, round, figures });
      }
    }
  }
}

/** Curves are for whoever asks for them or has the time. */
function chosenScenarios(): readonly Scenario[] {
  if (values.growth) return GROWTH;
  const all = values.quick && !values.only ? PATHS : [...PATHS, ...GROWTH];
  if (values.only === undefined) return all;
  const names = values.only.split(",");
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

function tellMissing(): void {
  const all = new Set(scenarios.flatMap(({ contenders }) => contenders));
  for (const { name, missing } of all) {
    if (missing !== undefined) console.log(`without ${name}: ${missing}`);
  }
}

function progress(text: string): void {
  const seconds = ((performance.now() - startMs) / 1e3).toFixed(0);
  console.error(`${seconds.padStart(4)} s  ${text}`);
}
