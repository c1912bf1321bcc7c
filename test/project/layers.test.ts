/** The folders of lib/ are layers: each imports from those before it alone. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** From the bottom up, as the README draws them. */
const LAYERS = [
  "support",
  "buffer",
  "address",
  "datagram",
  "batch",
  "traits",
  "readiness",
  "engine",
  "sockets",
];

/** What is known to go upwards: types alone, of a method that the traits share with the crate. */
const UPWARDS = ["traits -> sockets/udp.ts"];

test("imports between the folders of lib/ go one way, downwards", () => {
  const upwards = new Set<string>();
  let seen = 0;
  for (const file of new Bun.Glob("lib/*/*.ts").scanSync(ROOT)) {
    const layer = file.split("/")[1] as string;
    expect(LAYERS).toContain(layer);
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, isType, path = ""] of text.matchAll(
      /^(?:import|export) (type )?[^;]*?from "(\.[^"]+)";/gm,
    )) {
      const target = normalize(join(dirname(file), path)).split("/");
      if (target[0] !== "lib") continue;
      seen++;
      if (LAYERS.indexOf(target[1] as string) <= LAYERS.indexOf(layer)) continue;
      expect([file, path, isType]).toEqual([file, path, "type "]);
      upwards.add(`${layer} -> ${target.slice(1).join("/")}`);
    }
  }
  expect(seen).toBeGreaterThan(100);
  expect([...upwards]).toEqual(UPWARDS);
});
