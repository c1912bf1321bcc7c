/** Medians, and how figures are written. */

/** The middle one of `values`, or the upper of the two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new RangeError("values expected at least one, got none");
  return middle;
}

/** The median of each field of `samples`, which all have the same ones. */
export function medianOfEach<Sample extends object>(samples: readonly Sample[]): Sample {
  const fields = Object.keys(samples[0] ?? {}) as (keyof Sample)[];
  return Object.fromEntries(
    fields.map((field) => [field, median(samples.map((sample) => Number(sample[field])))]),
  ) as Sample;
}

/** How many times `base` a value is. */
export function ratio(value: number, base: number): string {
  return `${(value / base).toFixed(2)}x`;
}
