/** Figures: what they are called in tables, how they are written, and which way is better. */

/** How one figure of a sample is shown. */
export interface Figure {
  readonly name: string;
  readonly heading: string;
  readonly write: (value: number) => string;
  readonly better: "more" | "less";
  /** What it moves by for nothing: of a figure around zero, no part of it tells. */
  readonly noise?: number;
}

/** Three digits, and none behind the thousandth. */
export function digits(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(Number(value.toPrecision(3)).toFixed(3)));
}

const MILLION = 1e6;

/** Those that a table has columns for, in their order. */
export const FIGURES: readonly Figure[] = [
  { name: "rate", heading: "M/s", write: (value) => digits(value / MILLION), better: "more" },
  { name: "gbitPerS", heading: "Gbit/s", write: digits, better: "more" },
  { name: "p50Us", heading: "p50 µs", write: digits, better: "less" },
  { name: "p99Us", heading: "p99 µs", write: digits, better: "less" },
  { name: "p999Us", heading: "p99.9 µs", write: digits, better: "less" },
  { name: "ns", heading: "ns", write: digits, better: "less" },
  { name: "userUs", heading: "user µs", write: digits, better: "less" },
  { name: "systemUs", heading: "system µs", write: digits, better: "less" },
  { name: "cpuUs", heading: "CPU µs", write: digits, better: "less" },
  { name: "datagramsPerCall", heading: "a call", write: digits, better: "more" },
  {
    name: "arrived",
    heading: "lost %",
    write: (value) => digits(Math.max(0, 100 * (1 - value))),
    better: "more",
  },
  { name: "ms", heading: "ms", write: digits, better: "less" },
  { name: "residentMiB", heading: "MiB", write: digits, better: "less" },
  {
    name: "memoryGrowthBytes",
    heading: "growth KiB",
    write: (value) => digits(value / 1024),
    better: "less",
    noise: 16 * 2 ** 20,
  },
  { name: "bytesAllocated", heading: "bytes allocated", write: digits, better: "less" },
];

const byName = new Map(FIGURES.map((figure) => [figure.name, figure]));

/** How a figure is shown; undefined for those that are there for the record, such as the gauge. */
export function figureOf(name: string): Figure | undefined {
  return byName.get(name);
}
