/** Reads result files, and combines the rounds of each scenario, contender and parameters. */

import { join } from "node:path";
import type { Results, Sample } from "../results.ts";
import { median } from "../statistics.ts";

/** The results of one contender with the same parameters of a scenario, of all rounds. */
export interface Series {
  readonly suite: Sample["suite"];
  readonly scenario: string;
  readonly peer: string;
  readonly parameters: Sample["parameters"];
  /** Whether the machine was disturbed in all rounds. Otherwise disturbed rounds are left out. */
  readonly isSlow: boolean;
  /** The values of each figure, one per round. */
  readonly rounds: Readonly<Record<string, readonly number[]>>;
  /** The median of each figure. */
  readonly medians: Readonly<Record<string, number>>;
}

/** A result file. */
export interface ResultsFile extends Results {
  readonly path: string;
}

/** Reads the result files of a folder, the oldest run first. */
export async function loadFolder(folder: string): Promise<ResultsFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("*.json").scan(folder)).catch(() => []);
  if (names.length === 0) throw new Error(`no results in ${folder}: run the benchmarks first`);
  const files = await Promise.all(names.map((name) => loadFile(join(folder, name))));
  return files.toSorted(
    (a, b) => a.startedAt.localeCompare(b.startedAt) || a.path.localeCompare(b.path),
  );
}

/**
 * Reads a result file.
 *
 * @throws Error if the file does not contain results, or a figure is not a finite number.
 */
export async function loadFile(path: string): Promise<ResultsFile> {
  const results = (await Bun.file(path).json()) as Partial<Results>;
  const { samples, machine, versions, startedAt } = results;
  if (!Array.isArray(samples) || !machine || !versions || typeof startedAt !== "string") {
    throw new Error(`${path}: expected the results of a benchmark`);
  }
  for (const { scenario, peer, figures } of samples) {
    for (const [name, value] of Object.entries(figures)) {
      if (Number.isFinite(value)) continue;
      throw new Error(`${path}: ${scenario}, ${peer}, ${name} expected a number, got ${value}`);
    }
  }
  return { ...(results as Results), path };
}

/** Returns the samples of all files. If several files have the same series, the last one counts. */
export function latestSamples(files: readonly ResultsFile[]): Sample[] {
  const latest = new Map<string, readonly Sample[]>();
  for (const { samples } of files) {
    for (const [key, ofSeries] of Map.groupBy(samples, keyOf)) latest.set(key, ofSeries);
  }
  return [...latest.values()].flat();
}

/** Groups samples into series, in the order of their first samples. */
export function seriesOf(samples: readonly Sample[]): Series[] {
  return [...Map.groupBy(samples, keyOf).values()].map((all) => {
    const { suite, scenario, peer, parameters } = all[0] as Sample;
    const undisturbed = all.filter(({ figures }) => figures.slow !== 1);
    const isSlow = undisturbed.length === 0;
    const counted = isSlow ? all : undisturbed;
    const names = [...new Set(counted.flatMap(({ figures }) => Object.keys(figures)))];
    const rounds = Object.fromEntries(
      names.map((name) => [name, counted.flatMap(({ figures }) => figures[name] ?? [])]),
    );
    const medians = Object.fromEntries(names.map((name) => [name, median(rounds[name] ?? [])]));
    return { suite, scenario, peer, parameters, isSlow, rounds, medians };
  });
}

/** Returns the key of the series that a sample belongs to. */
export function keyOf({
  suite,
  scenario,
  peer,
  parameters,
}: Omit<Sample, "round" | "figures">): string {
  return JSON.stringify([suite, scenario, peer, Object.entries(parameters).sort()]);
}

/** Returns parameters as text: `1,200 bytes, 64 peers`, `1,200 bytes, batch 64`. */
export function describeParameters(parameters: Sample["parameters"]): string {
  return Object.entries(parameters)
    .map(([name, value]) => {
      const number = value.toLocaleString("en-US");
      return name === "batch" ? `${name} ${number}` : `${number} ${name}`;
    })
    .join(", ");
}
