/** A short run of `npm run test:fuzz`, with another seed each time. */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { PROPERTIES } from "./all.ts";
import { property, runProperties } from "./property.ts";

const INPUTS = 100_000;
const TIMEOUT_MS = 120_000;

/** Printed with a failure, so that it can be run again. */
const seed = Math.floor(Math.random() * 2 ** 31);

for (const one of PROPERTIES) {
  test(
    one.name,
    async () => {
      const total = PROPERTIES.reduce((sum, { weight }) => sum + weight, 0);
      const inputs = (INPUTS * one.weight) / total;
      const [result] = await runProperties([one], { inputs, seed });
      expect([seed, result?.failure]).toEqual([seed, undefined]);
      expect(result?.inputs).toBe(Math.ceil(inputs));
    },
    TIMEOUT_MS,
  );
}

test("a property that does not hold is reported with its smallest input and path", async () => {
  const wrong = property({
    name: "bytes are shorter than 3",
    weight: 1,
    inputs: fc.uint8Array(),
    check: (bytes) => expect(bytes.length).toBeLessThan(3),
  });
  const [result] = await runProperties([wrong], { inputs: 1000, seed });
  expect(result?.failure).toContain("Uint8Array.from([0,0,0])");
  const path = /^path (\S+)$/m.exec(result?.failure as string)?.[1];
  const [replayed] = await runProperties([wrong], { inputs: 1000, seed, path });
  expect(replayed?.inputs).toBe(1);
  expect(replayed?.failure).toContain("Uint8Array.from([0,0,0])");
});
