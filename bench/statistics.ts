/** Statistics of samples. */

/** Returns the middle one of `values`, or the upper of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError("values expected at least one, got none");
  return middle;
}
