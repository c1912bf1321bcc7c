/** Makes the programs of the network benchmarks: the C references, and peers that Node can read. */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";

const REFERENCE_FILES = [
  "reference.c",
  "load.c",
  "collect.c",
  "gauge.c",
  "contender.c",
  "unix.c",
].map((file) => join(import.meta.dir, file));

/** Peers that run on Node and Deno, and so are bundled: Node 20 reads no TypeScript. */
const BUNDLED = ["node-dgram.ts", "deno.ts", "unix-dgram.ts"];

/** Below node_modules, so that bundles find what is installed there. */
const folder = join(import.meta.dir, "../node_modules/.cache/datagram-bench", String(process.pid));

/** Compiles the C program for datagrams of each of these lengths, and bundles peers. */
export async function makePrograms(sizes: readonly number[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const lengths = new Set([DEFAULT_DATAGRAM_BYTES, ...sizes]);
  await Promise.all([...lengths].map(compile));
  const { success, logs } = await Bun.build({
    entrypoints: BUNDLED.map(peerSource),
    target: "node",
    naming: "[name].mjs",
    outdir: folder,
  });
  if (!success) throw new AggregateError(logs, "peers expected to be bundled");
}

/** The path of the C program for datagrams of so many bytes. */
export function referencePath(bytes: number = DEFAULT_DATAGRAM_BYTES): string {
  return join(folder, `reference-${bytes}`);
}

/** The path of a peer's source, which Bun runs. */
export function peerSource(file: string): string {
  return join(import.meta.dir, "peers", file);
}

/** The path of a bundled peer. */
export function peerBundle(file: string): string {
  return join(folder, file.replace(/\.ts$/, ".mjs"));
}

async function compile(bytes: number): Promise<void> {
  const options = ["-O2", `-DDATAGRAM_BYTES=${bytes}`, "-o", referencePath(bytes)];
  const gcc = Bun.spawn(["gcc", ...options, ...REFERENCE_FILES], { stderr: "inherit" });
  if ((await gcc.exited) !== 0) throw new Error(`gcc expected exit code 0, got ${gcc.exitCode}`);
}
