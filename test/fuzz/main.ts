/**
 * `npm run test:fuzz -- [--inputs N] [--seed S] [--path P] [--only TEXT]`: checks the properties with
 * N inputs in all (default 10,000,000). The same seed (default: random) gives the same inputs.
 * `--only` selects properties whose name contains the text; with the seed and the path of a failure,
 * it runs the failing input again. The exit code is 1 if a property failed.
 */

import { parseArgs } from "node:util";
import { PROPERTIES } from "./all.ts";
import { runProperties } from "./property.ts";

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "10000000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    path: { type: "string" },
    only: { type: "string", default: "" },
  },
});
for (const name of ["inputs", "seed"] as const) {
  if (!/^\d{1,12}$/.test(values[name])) {
    throw new TypeError(`--${name} expected an integer, got "${values[name]}"`);
  }
}
const selected = PROPERTIES.filter(({ name }) => name.includes(values.only));
if (selected.length === 0) throw new TypeError(`--only: no property contains "${values.only}"`);

const seed = Number(values.seed);
console.log(`seed ${seed}`);
let failures = 0;
let inputs = 0;
const total = selected.reduce((sum, { weight }) => sum + weight, 0);
for (const one of selected) {
  const share = (Number(values.inputs) * one.weight) / total;
  const [result] = await runProperties([one], { inputs: share, seed, path: values.path });
  if (result === undefined) continue;
  inputs += result.inputs;
  const rate = Math.round((1000 * result.inputs) / result.ms).toLocaleString("en");
  console.log(`${result.name}: ${result.inputs.toLocaleString("en")} inputs, ${rate} per second`);
  if (result.failure === undefined) continue;
  failures++;
  console.error(result.failure);
  console.error(`replay: npm run test:fuzz -- --seed ${seed} --only "${one.name}" --path PATH`);
}
console.log(`${inputs.toLocaleString("en")} inputs`);
console.log(`${selected.length - failures} passed, ${failures} failed`);
process.exitCode = failures > 0 ? 1 : 0;
