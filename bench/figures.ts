/** The figures of samples: their headings and formats in tables, and which direction is better. */

/** How a figure is shown and compared. */
export interface Figure {
  readonly name: string;
  readonly heading: string;
  readonly write: (value: number) => string;
  readonly better: "more" | "less";
  /**
   * A difference between two runs that is not significant, in the unit of the figure. For figures
   * around zero, where relative differences mean nothing.
   */
  readonly noise?: number;
}

/** Formats a value with three significant digits, but at most three decimals. */
export function digits(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(Number(value.toPrecision(3)).toFixed(3)));
}

const MILLION = 1e6;

/** The figures that tables have columns for, in their order. */
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
  { name: "datagramsPerMessage", heading: "a message", write: digits, better: "more" },
  { name: "loadCpu", heading: "load busy", write: digits, better: "less" },
  {
    name: "arrived",
    heading: "lost %",
    write: (value) => digits(Math.max(0, 100 * (1 - value))),
    better: "more",
  },
  { name: "megabytesPerS", heading: "MB/s", write: digits, better: "more" },
  { name: "endsCpuMs", heading: "CPU ms", write: digits, better: "less" },
  { name: "relayCpuMs", heading: "relay CPU ms", write: digits, better: "less" },
  { name: "datagramBytes", heading: "bytes a datagram", write: digits, better: "more" },
  ...["egress", "ingress"].map(
    (role): Figure => ({
      name: `${role}EmptyReceives`,
      heading: `${role} empty receives %`,
      write: (value) => digits(100 * value),
      better: "less",
    }),
  ),
  ...["egressIn", "egressOut", "ingressIn", "ingressOut", "serverOut"].flatMap((hop): Figure[] => {
    const [, role, direction] = /^(.*)(In|Out)$/.exec(hop) as RegExpExecArray;
    const heading = `${role} ${direction?.toLowerCase()}`;
    return [
      { name: `${hop}PerMessage`, heading: `${heading} a message`, write: digits, better: "more" },
      { name: `${hop}PerCall`, heading: `${heading} a call`, write: digits, better: "more" },
    ];
  }),
  { name: "ms", heading: "ms", write: digits, better: "less" },
  { name: "residentMiB", heading: "MiB", write: digits, better: "less" },
  {
    name: "memoryGrowthBytes",
    heading: "growth KiB",
    write: (value) => digits(value / 1024),
    better: "less",
    noise: 16 * 2 ** 20,
  },
  { name: "perSocketKiB", heading: "KiB a socket", write: digits, better: "less", noise: 2 },
  { name: "retainedMiB", heading: "retained MiB", write: digits, better: "less", noise: 4 },
  { name: "bytesAllocated", heading: "bytes allocated", write: digits, better: "less" },
];

const byName = new Map(FIGURES.map((figure) => [figure.name, figure]));

/** Returns how a figure is shown. Undefined for those about the sample itself, as `gaugeUs`. */
export function figureOf(name: string): Figure | undefined {
  return byName.get(name);
}
