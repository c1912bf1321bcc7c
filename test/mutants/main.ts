/**
 * `npm run test:mutants -- [--area A] [--only TEXT] [--sample N] [--seed S]`: plants the mistakes of
 * areas/*.ts in a copy of the checkout, one at a time, and runs the tests that must notice each.
 * `--area` selects an area, `--only` the mutants whose name contains the text, `--sample` N of them
 * by chance: the same seed (default 1) selects the same ones. `--list` only prints their names. The
 * exit code is 1 if less than `KILLED_PERCENT_MIN` of the mutants are killed, if the tests fail
 * without a mutant, or if the list has an error, such as a text that is no longer in its file.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { SimRandom } from "../../lib/testing/random.ts";
import type { Area, Mutant } from "./mutant.ts";
import { judge, listErrors, type Verdict } from "./run-mutants.ts";

const ROOT = join(import.meta.dir, "../..");
const KILLED_PERCENT_MIN = 90;

const { values } = parseArgs({
  options: {
    area: { type: "string" },
    only: { type: "string", default: "" },
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
  },
});
for (const [name, text] of Object.entries({ sample: values.sample ?? "1", seed: values.seed })) {
  if (!/^\d{1,12}$/.test(text)) throw new TypeError(`--${name} expected an integer, got "${text}"`);
}

async function loadAreas(): Promise<Area[]> {
  const areas: Area[] = [];
  for (const file of new Bun.Glob("*.ts").scanSync(join(import.meta.dir, "areas"))) {
    const { mutants } = (await import(`./areas/${file}`)) as { mutants: readonly Mutant[] };
    areas.push({ name: file.slice(0, -".ts".length), mutants });
  }
  return areas.sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** Returns the mutants that the command line selects. */
function selected(areas: readonly Area[]): Area[] {
  if (values.area !== undefined && !areas.some(({ name }) => name === values.area)) {
    const names = areas.map(({ name }) => name).join(", ");
    throw new TypeError(`--area expected one of ${names}, got "${values.area}"`);
  }
  const isInArea = ({ name }: Area) => values.area === undefined || name === values.area;
  const candidates = areas
    .filter(isInArea)
    .flatMap(({ mutants }) => mutants.filter(({ name }) => name.includes(values.only)));
  if (candidates.length === 0) throw new TypeError(`--only: no mutant contains "${values.only}"`);
  const chosen = new Set(candidates);
  if (values.sample !== undefined) {
    const random = new SimRandom(Number(values.seed));
    const remaining = [...candidates];
    chosen.clear();
    while (chosen.size < Number(values.sample) && remaining.length > 0) {
      const index = Math.floor(random.next() * remaining.length);
      for (const mutant of remaining.splice(index, 1)) chosen.add(mutant);
    }
  }
  return areas
    .map(({ name, mutants }) => ({ name, mutants: mutants.filter((one) => chosen.has(one)) }))
    .filter(({ mutants }) => mutants.length > 0);
}

const percent = (killed: number, count: number) => `${((100 * killed) / count).toFixed(1)} %`;

/** Prints a table by area, and the survivors. Returns whether enough mutants were killed. */
function report(verdicts: readonly Verdict[]): boolean {
  const groups = Object.entries(Object.groupBy(verdicts, ({ area }) => area));
  const rows = [...groups, ["all", verdicts] as const].map(([area, group = []]) => {
    const killed = group.filter(({ isKilled }) => isKilled).length;
    return { area, mutants: group.length, killed, percent: percent(killed, group.length) };
  });
  console.log("\n| Area | Mutants | Killed | Percent |\n|---|--:|--:|--:|");
  for (const row of rows) console.log(`| ${Object.values(row).join(" | ")} |`);
  const survivors = verdicts.filter(({ isKilled }) => !isKilled);
  if (survivors.length > 0) console.log("\nSurvivors:");
  for (const { area, mutant } of survivors)
    console.log(`  ${area}: ${mutant.name} (${mutant.file})`);
  return 100 * (verdicts.length - survivors.length) >= KILLED_PERCENT_MIN * verdicts.length;
}

const areas = await loadAreas();
const errors = listErrors(areas, ROOT);
for (const error of errors) console.error(error);
if (errors.length > 0) process.exit(1);

const chosen = selected(areas);
if (values.list) {
  for (const { name, mutants } of chosen)
    for (const one of mutants) console.log(`${name}: ${one.name}`);
  process.exit();
}
const verdicts: Verdict[] = [];
for await (const verdict of judge(chosen, ROOT)) {
  verdicts.push(verdict);
  const { area, mutant, isKilled, result } = verdict;
  const state = isKilled ? "killed  " : "SURVIVED";
  console.log(`${state} ${area}: ${mutant.name} (${Math.round(result.ms)} ms) ${result.reason}`);
}
const isEnough = report(verdicts);
if (!isEnough) console.log(`\nless than ${KILLED_PERCENT_MIN} % killed`);
process.exitCode = isEnough ? 0 : 1;
