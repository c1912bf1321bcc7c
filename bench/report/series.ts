/** What the result files say: every scenario, place and peer with its figures, medians of the rounds. */

import { join } from "node:path";
import type { Results, Sample } from "../results.ts";
import { median } from "../statistics.ts";

/** What one contender did at one place of a scenario, in all rounds. */
export interface Series {
  readonly suite: Sample["suite"];
  readonly scenario: string;
  readonly peer: string;
  readonly parameters: Readonly<Record<string, number>>;
  /** Whether all its samples are of slow spells of the machine; of others these do not count. */
  readonly isSlow: boolean;
  /** By figure, a value for each round. */
  readonly rounds: Readonly<Record<string, readonly number[]>>;
  /** By figure, the median of them. */
  readonly medians: Readonly<Record<string, number>>;
}

/** One file of results. */
export interface ResultsFile extends Results {
  readonly path: string;
}

/** The result files of a folder, the oldest first. */
export async function loadFolder(folder: string): Promise<ResultsFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("*.json").scan(folder)).catch(() => []);
  if (names.length === 0) throw new Error(`no results in ${folder}: run the benchmarks first`);
  const files = await Promise.all(names.map((name) => loadFile(join(folder, name))));
  return files.toSorted(
    (a, b) => a.startedAt.localeCompare(b.startedAt) || a.path.localeCompare(b.path),
  );
}

/** @throws Error when it is no file of results. */
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

/** The samples of all files. What several have measured is taken from the latest of them. */
export function latestSamples(files: readonly ResultsFile[]): Sample[] {
  const latest = new Map<string, readonly Sample[]>();
  for (const { samples } of files) {
    for (const [key, of] of Map.groupBy(samples, keyOf)) latest.set(key, of);
  }
  return [...latest.values()].flat();
}

/** Samples put together by who, what and where, in the order in which these first come. */
export function seriesOf(samples: readonly Sample[]): Series[] {
  return [...Map.groupBy(samples, keyOf).values()].map((all) => {
    const { suite, scenario, peer, parameters } = all[0] as Sample;
    const fast = all.filter(({ figures }) => figures.slow !== 1);
    const isSlow = fast.length === 0;
    const of = isSlow ? all : fast;
    const names = [...new Set(of.flatMap(({ figures }) => Object.keys(figures)))];
    const rounds = Object.fromEntries(
      names.map((name) => [name, of.flatMap(({ figures }) => figures[name] ?? [])]),
    );
    const medians = Object.fromEntries(names.map((name) => [name, median(rounds[name] ?? [])]));
    return { suite, scenario, peer, parameters, isSlow, rounds, medians };
  });
}

/** Who, what and where, as a key. */
export function keyOf({
  suite,
  scenario,
  peer,
  parameters,
}: Omit<Sample, "round" | "figures">): string {
  return JSON.stringify([suite, scenario, peer, Object.entries(parameters).sort()]);
}

/** The places of a scenario in words: `1,200 bytes, 64 peers`, `1,200 bytes, batch 64`. */
export function placeOf(parameters: Sample["parameters"]): string {
  return Object.entries(parameters)
    .map(([axis, value]) => {
      const number = value.toLocaleString("en-US");
      return axis === "batch" ? `${axis} ${number}` : `${number} ${axis}`;
    })
    .join(", ");
}
