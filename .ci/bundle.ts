/**
 * Builds the bundles of the published package, one for each of its entry points, such as
 * dist/index.js. The code that several of them need is in dist/shared-*.js, so that they have the
 * same classes. The source of the shim becomes a string in them, so that other bundlers need no
 * loader for C files.
 *
 *     bun .ci/bundle.ts
 */

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** Returns the sources that package.json exports, under any condition. */
function entryPoints(): string[] {
  const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const paths = JSON.stringify(exports).match(/(?<=")\.\/lib\/[^"]+\.ts(?=")/g) ?? [];
  return [...new Set(paths)].map((path) => join(ROOT, path));
}

const { outputs } = await Bun.build({
  entrypoints: entryPoints(),
  root: join(ROOT, "lib"),
  outdir: join(ROOT, "dist"),
  naming: { entry: "[dir]/[name].[ext]", chunk: "shared-[hash].[ext]" },
  target: "bun",
  splitting: true,
  minify: { syntax: true },
  sourcemap: "linked",
});

// Bun renames the exports of a chunk (`RecvMeta2`, `Socket3`). Class names appear in inspected objects, so
// they get their names back. The source maps stay right by line, and by column up to a few characters.
const modules = await Promise.all(entryPoints().map((path) => import(path)));
const names = [...new Set(modules.flatMap((module) => Object.keys(module)))];
const renamed = new RegExp(`\\b(${names.join("|")})[2-9]\\b`, "g");
for (const { path, kind } of outputs) {
  const text = readFileSync(path, "utf8");
  if (kind === "entry-point" || kind === "chunk") writeFileSync(path, text.replace(renamed, "$1"));
  else if (kind === "sourcemap") writeFileSync(path, JSON.stringify(withSources(path, text)));
}

/** Makes the sources relative to the map: Bun makes them relative to dist/. */
function withSources(path: string, text: string): object {
  const map = JSON.parse(text) as { sources: string[] };
  const sources = map.sources.map((source) => relative(dirname(path), join(ROOT, "dist", source)));
  return { ...map, sources };
}
