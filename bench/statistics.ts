/** Medians, and how ratios are written. */

/** The middle one of `values`, or the upper of the two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError("values expected at least one, got none");
  return middle;
}

/** How many times `base` a value is. */
export function ratio(value: number, base: number): string {
  return `${(value / base).toFixed(2)}x`;
}
