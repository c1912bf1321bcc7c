/**
 * Makes the report from the results in bench/results: a short table with one plot in README.md, the
 * plots in bench/plots, and all tables and targets in bench/README.md. With `--compare`, prints the
 * changes since an older run instead. Drawing needs `npm install --prefix bench`.
 *
 *     npm run bench:report [-- --compare OLD.json --results FOLDER --readme FILE --tables FILE
 *                           --plots FOLDER]
 */

import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { movesBetween, printMoves } from "./compare.ts";
import { draw } from "./draw.ts";
import { replaceMarked } from "./markdown.ts";
import { describeMachine, overview, shortOverview } from "./overview.ts";
import { type Plot, plotsOf } from "./plots.ts";
import { latestSamples, loadFile, loadFolder, type ResultsFile, seriesOf } from "./series.ts";
import { completeTables, targetTable, verdictsOf, wrongReasons } from "./tables.ts";

const ROOT = join(import.meta.dir, "../..");

/** The folder of the plots for README.md, whose images npm must find: relative paths do not work. */
const PLOTS_URL =
  "https://raw.githubusercontent.com/datagram-socket/datagram-socket/main/bench/plots";
/** The plot of README.md. */
const MAIN_PLOT = "throughput";

const { values } = parseArgs({
  options: {
    compare: { type: "string" },
    results: { type: "string", default: join(ROOT, "bench/results") },
    readme: { type: "string", default: join(ROOT, "README.md") },
    tables: { type: "string", default: join(ROOT, "bench/README.md") },
    plots: { type: "string", default: join(ROOT, "bench/plots") },
  },
});
const files = await loadFolder(values.results);
if (values.compare === undefined) await report(files);
else await compare(files, await loadFile(values.compare));

/** Writes the tables and plots. */
async function report(files: readonly ResultsFile[]): Promise<void> {
  const samples = latestSamples(files);
  const plots = plotsOf(seriesOf(samples));
  for (const plot of plots) await Bun.write(pathOf(plot), await draw(plot));
  const verdicts = verdictsOf(samples);
  const outcome = [
    ...plots.map((plot) => imageOf(plot, relative(dirname(values.tables), values.plots))),
    "Targets: a ratio is ours divided by the other's, a speed-up the other's divided by ours, a " +
      "difference ours minus the other's.",
    targetTable(verdicts),
  ];
  const all = [
    ...files.map((file) => `\`${file.command}\`, commit ${file.commit}: ${describeMachine(file)}`),
    completeTables(samples),
  ];
  const newest = files.at(-1) as ResultsFile;
  const main = plots.filter(({ name }) => name === MAIN_PLOT);
  await write(values.readme, {
    figures: [shortOverview(samples, newest), ...main.map((plot) => imageOf(plot, PLOTS_URL))].join(
      "\n\n",
    ),
  });
  await write(values.tables, {
    figures: overview(samples, newest),
    "figures: targets": outcome.join("\n\n"),
    "figures: all": all.join("\n\n"),
  });
  const sources = files.map(({ path }) => path).join(", ");
  console.log(`${values.readme}, ${values.tables} and ${plots.length} plots, from ${sources}`);
  for (const wrong of wrongReasons(verdicts)) console.log(wrong);
}

/** Replaces the generated parts of a file, which are given by the names of their markers. */
async function write(path: string, parts: Readonly<Record<string, string>>): Promise<void> {
  let text = await Bun.file(path).text();
  for (const [name, content] of Object.entries(parts)) text = replaceMarked(text, name, content);
  await Bun.write(path, text);
}

/** Prints the changes since `old`. */
async function compare(files: readonly ResultsFile[], old: ResultsFile): Promise<void> {
  const newer = files.filter(({ path }) => path !== old.path);
  const [machine, other] = [old.machine, newer.at(-1)?.machine].map((one) => JSON.stringify(one));
  if (machine !== other) console.log(`not the same machine: ${machine}, now ${other}`);
  printMoves(movesBetween(old.samples, latestSamples(newer)));
}

/** Returns a plot as an image in Markdown. */
function imageOf({ name, title }: Plot, folder: string): string {
  return `![${title}](${folder}/${name}.svg)`;
}

function pathOf({ name }: Plot): string {
  return join(values.plots, `${name}.svg`);
}
