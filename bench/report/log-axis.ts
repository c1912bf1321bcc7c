/** Logarithmic axes for plots. */

/** The Vega expression for the label of a tick: 0.5, 1,024, 65k. */
const TICK_LABEL =
  "format(datum.value, datum.value < 1 ? '~g' : datum.value < 10000 ? ',' : '.2~s')";

/** The Vega-Lite encoding of a logarithmic axis. */
export interface LogAxis {
  readonly field: string;
  readonly title: string;
  readonly type: "quantitative";
  readonly scale: { readonly type: "log"; readonly domain: number[]; readonly nice: false };
  readonly axis: {
    readonly values: number[];
    readonly labelExpr: string;
    readonly labelFlush: false;
    readonly labelOverlap: false;
  };
}

/** Returns a logarithmic axis from the first tick to the last. */
export function logAxis(field: string, title: string, ticks: number[]): LogAxis {
  const domain = [ticks.at(0) as number, ticks.at(-1) as number];
  return {
    field,
    title,
    type: "quantitative",
    scale: { type: "log", domain, nice: false },
    axis: { values: ticks, labelExpr: TICK_LABEL, labelFlush: false, labelOverlap: false },
  };
}

/** Returns a tick for each value. */
export function ticksAt(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

/**
 * Returns ticks that enclose the values: powers of ten, and their multiples by 2 and 5 if the
 * values span a factor of 50 or less.
 */
export function roundTicks(values: readonly number[]): number[] {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const steps = most / least > 50 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); 10 ** power <= most; power++) {
    ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(1))));
  }
  ticks.push(10 ** Math.ceil(Math.log10(most)));
  const first = ticks.findLastIndex((tick) => tick <= least);
  const last = ticks.findIndex((tick) => tick >= most);
  return [...new Set(ticks.slice(first, last + 1))];
}
