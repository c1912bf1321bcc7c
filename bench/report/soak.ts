/** Draws a soak run (test/soak): memory, descriptors, flows, rate and losses over time. */

import type { TopLevelSpec } from "vega-lite";
import { draw } from "./draw.ts";
import { OURS } from "./theme.ts";

/** What the plot shows of a sample. Counters are totals since the start. */
interface SoakSample {
  readonly seconds: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
  readonly descriptors: number;
  readonly flows: number;
  readonly datagrams: number;
  readonly exchangesLost: number;
}

const PANEL = { width: 260, height: 110 };

/** A panel: its title, and what it shows of two successive samples. */
interface Panel {
  readonly title: string;
  readonly show: (sample: SoakSample, previous: SoakSample) => number;
}

function perSecond(of: (sample: SoakSample) => number): Panel["show"] {
  return (sample, previous) =>
    (of(sample) - of(previous)) / Math.max(1e-3, sample.seconds - previous.seconds);
}

const PANELS: readonly Panel[] = [
  { title: "resident memory, MiB", show: ({ rssMiB }) => rssMiB },
  { title: "JavaScript heap, MiB", show: ({ heapMiB }) => heapMiB },
  { title: "open descriptors", show: ({ descriptors }) => descriptors },
  { title: "flows of both halves", show: ({ flows }) => flows },
  {
    title: "million datagrams per second, in and out",
    show: perSecond(({ datagrams }) => datagrams / 1e6),
  },
  { title: "exchanges without a reply, total", show: ({ exchangesLost }) => exchangesLost },
];

/** Returns the SVG of a run. */
export async function drawSoak(title: string, samples: readonly SoakSample[]): Promise<string> {
  return await draw({ name: "soak", title, spec: specOf(samples) });
}

function specOf(samples: readonly SoakSample[]): TopLevelSpec {
  const panels = PANELS.map(({ title, show }) => ({
    title: { text: title, fontSize: 11 },
    ...PANEL,
    data: {
      values: samples.slice(1).map((sample, i) => ({
        minutes: sample.seconds / 60,
        value: show(sample, samples[i] as SoakSample),
      })),
    },
    mark: { type: "line", color: OURS, strokeWidth: 1.5 } as const,
    encoding: {
      x: { field: "minutes", type: "quantitative", title: "minutes" } as const,
      y: {
        field: "value",
        type: "quantitative",
        title: null,
        scale: { zero: true, nice: true },
      } as const,
    },
  }));
  return { columns: 2, concat: panels, spacing: 24 };
}
