/** The folders of lib/ are layers: each imports only from the layers below it, types included. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** The folders of lib/ from the bottom up, as in ARCHITECTURE.md. */
const LAYERS = [
  "support",
  "poll",
  "buffer",
  "address",
  "datagram",
  "linux",
  "readiness",
  "batch",
  "engine",
  "traits",
  "sockets",
  "testing",
  "masque",
  "unix-dgram",
  "dgram",
  "doctor",
];

/** The modules that only re-export: those for `import` and `require` of the package. */
const ENTRY_POINTS = ["lib/index.ts", "lib/required.ts"];

/** The imports between the files of lib/ and ffi/: `import`, `export from` and `import()`. */
const imports = new Map<string, string[]>();
for (const pattern of ["lib/**/*.ts", "ffi/*.ts"]) {
  for (const file of new Bun.Glob(pattern).scanSync(ROOT)) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const paths = text.matchAll(/(?:\bfrom|\bimport\()\s*"(\.[^"]+)"/g);
    const targets = Array.from(paths, ([, path = ""]) => normalize(join(dirname(file), path)));
    imports.set(file, targets);
  }
}

/** Returns the first cycle in a graph, as the list of its nodes; absent if there is none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string[] | undefined => {
    const start = path.indexOf(node);
    if (start !== -1) return [...path.slice(start), node];
    if (done.has(node)) return undefined;
    path.push(node);
    for (const target of graph.get(node) ?? []) {
      const cycle = visit(target);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const folderOf = (file: string) => file.split("/")[1] as string;

describe("imports in lib/", () => {
  test("go downwards between the layers", () => {
    const upwards: string[] = [];
    let checked = 0;
    for (const [file, targets] of imports) {
      if (!file.startsWith("lib/") || ENTRY_POINTS.includes(file)) continue;
      expect(LAYERS).toContain(folderOf(file));
      for (const target of targets) {
        if (!target.startsWith("lib/")) continue;
        checked++;
        const isUpwards = LAYERS.indexOf(folderOf(target)) > LAYERS.indexOf(folderOf(file));
        if (isUpwards) upwards.push(`${file} -> ${target}`);
      }
    }
    expect(upwards).toEqual([]);
    expect(checked).toBeGreaterThan(200);
  });

  test("form no cycle between files, including those of ffi/", () => {
    expect(findCycle(imports)).toBeUndefined();
  });

  test("stay within lib/ and ffi/, and those of ffi/ within ffi/ and c/", () => {
    for (const [file, targets] of imports) {
      const isFfi = file.startsWith("ffi/");
      const allowed = isFfi ? /^(ffi|c)\// : /^(lib|ffi)\//;
      const others = targets.filter((target) => !allowed.test(target) && target !== "package.json");
      expect([file, others]).toEqual([file, []]);
    }
  });
});

test("findCycle returns the cycle of a graph that has one", () => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c", "d"]],
    ["c", []],
    ["d", ["b"]],
  ]);
  expect(findCycle(graph)).toEqual(["b", "d", "b"]);
});
