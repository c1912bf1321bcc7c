/**
 * Makes what the README shows of the results in bench/results: its tables, and the plots in
 * bench/plots. With `--compare` it prints instead what moved since an older run.
 *
 *     npm run bench:report [-- --compare OLD.json] [-- --results FOLDER]
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { movesBetween, printMoves } from "./compare.ts";
import { draw } from "./draw.ts";
import { replaceMarked } from "./markdown.ts";
import { measuredOn, overview } from "./overview.ts";
import { type Plot, plotsOf } from "./plots.ts";
import { latestSamples, loadFile, loadFolder, type ResultsFile, seriesOf } from "./series.ts";
import { completeTables, targetTable, unexplained, verdictsOf } from "./tables.ts";

const ROOT = join(import.meta.dir, "../..");
const README = join(ROOT, "README.md");
const PLOTS = "bench/plots";

const { values } = parseArgs({
  options: {
    compare: { type: "string" },
    results: { type: "string", default: join(ROOT, "bench/results") },
  },
});
const files = await loadFolder(values.results);
if (values.compare === undefined) await report(files);
else await compare(files, await loadFile(values.compare));

async function report(files: readonly ResultsFile[]): Promise<void> {
  const samples = latestSamples(files);
  const plots = plotsOf(seriesOf(samples));
  for (const plot of plots) await Bun.write(join(ROOT, fileOf(plot)), await draw(plot));
  const verdicts = verdictsOf(samples);
  const all = [
    ...plots.map((plot) => `![${plot.title}](${fileOf(plot)})`),
    `**Targets.** "ratio" is ours over the other's, "speed-up" the other's over ours, "difference" ours less the other's.`,
    targetTable(verdicts),
    completeTables(samples),
    ...files.map(
      (file) => `\`${file.command}\` at ${file.commit.slice(0, 12)}: ${measuredOn(file)}`,
    ),
  ];
  let readme = await Bun.file(README).text();
  readme = replaceMarked(readme, "figures", overview(samples, files.at(-1) as ResultsFile));
  readme = replaceMarked(readme, "figures: all", all.join("\n\n"));
  await Bun.write(README, readme);
  console.log(
    `README.md and ${plots.length} plots, from ${files.map(({ path }) => path).join(", ")}`,
  );
  for (const target of unexplained(verdicts)) console.log(`missed, and nobody says why: ${target}`);
}

async function compare(files: readonly ResultsFile[], old: ResultsFile): Promise<void> {
  const newer = files.filter(({ path }) => path !== old.path);
  const [machine, other] = [old.machine, newer.at(-1)?.machine].map((one) => JSON.stringify(one));
  if (machine !== other) console.log(`not the same machine: ${machine}, now ${other}`);
  printMoves(movesBetween(old.samples, latestSamples(newer)));
}

function fileOf({ name }: Plot): string {
  return `${PLOTS}/${name}.svg`;
}
