/** lib/outside-bun.js, which other runtimes load instead of the library. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const OUTSIDE_BUN = join(ROOT, "lib/outside-bun.js");
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

test("outside-bun.js throws an error that names the version of package.json", async () => {
  const range = manifest.engines.bun.replace(">=", ">= ");
  const expected = `datagram-socket requires Bun ${range}: https://bun.sh`;
  expect(range).toMatch(/^>= \d+\.\d+\.\d+$/);
  await expect(import(OUTSIDE_BUN)).rejects.toThrow(expected);
});

test("outside-bun.js has the names of all modules that package.json exports", async () => {
  const matches = JSON.stringify(manifest.exports).matchAll(/"(\.\/lib\/[^"]+\.ts)"/g);
  const paths = [...new Set(Array.from(matches, ([, path]) => path as string))];
  // It has no names, and would replace `node:dgram` in this process.
  const importable = paths.filter((path) => path !== "./lib/dgram/register/index.ts");
  const modules = await Promise.all(importable.map((path) => import(join(ROOT, path))));
  expect(modules.length).toBeGreaterThan(4);
  const names = new Set(modules.flatMap((module) => Object.keys(module)));
  const source = readFileSync(OUTSIDE_BUN, "utf8");
  const exported = Array.from(source.matchAll(/nothing as (\w+)/g), ([, name]) => name);
  expect(exported).toEqual([...names].sort());
});
