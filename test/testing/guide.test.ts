/** The examples of docs/simulation.md run, and their results are as the guide says. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LinkOptions } from "../../lib/testing/index.ts";

const ROOT = join(import.meta.dir, "../..");
const guide = readFileSync(join(ROOT, "docs/simulation.md"), "utf8");
const blocks = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] as string);

/** Returns an example that imports the sources. */
function withSources(block: string): string {
  return block
    .replaceAll('"datagram-socket"', JSON.stringify(join(ROOT, "lib/index.ts")))
    .replaceAll('"datagram-socket/testing"', JSON.stringify(join(ROOT, "lib/testing/index.ts")));
}

let folder = "";
let transfer: (seed: number, link: LinkOptions) => Promise<string[]>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "datagram-socket-guide-"));
  const path = join(folder, "stop-and-wait.ts");
  writeFileSync(path, withSources(blocks[0] as string));
  transfer = (await import(path)).transfer;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Returns the seeds, of 100, with which messages are missing. */
async function failingSeeds(link: LinkOptions): Promise<number[]> {
  const failed: number[] = [];
  const expected = Array.from({ length: 20 }, (_, i) => `message ${i}`);
  for (let seed = 0; seed < 100; seed++) {
    const received = await transfer(seed, link);
    if (received.join() !== expected.join()) failed.push(seed);
  }
  return failed;
}

describe("the stop-and-wait protocol of the guide", () => {
  const LOSSY: LinkOptions = { delayMs: 10, loss: 0.3, duplicate: 0.1 };

  test("has about 40 lines, and survives loss and duplication", async () => {
    expect((blocks[0] as string).split("\n").length).toBeLessThan(60);
    expect(blocks[1]).toContain("{ delayMs: 10, loss: 0.3, duplicate: 0.1 }");
    expect(await failingSeeds(LOSSY)).toEqual([]);
  });

  test("does not survive reordering", async () => {
    expect(guide).toContain("`reorder: 0.1, reorderMs: 1000`");
    const failed = await failingSeeds({ ...LOSSY, reorder: 0.1, reorderMs: 1000 });
    expect(failed.length).toBeGreaterThan(0);
  });
});

test("the example of a network runs", async () => {
  const path = join(folder, "network.ts");
  const header = 'import { SimNetwork } from "datagram-socket/testing";\n';
  const footer = "\nawait net.run(() => net.clock.sleep(10_000));\nexport const now = net.now;\n";
  writeFileSync(path, withSources(header + blocks[2] + footer));
  expect((await import(path)).now).toBe(10_000);
});
