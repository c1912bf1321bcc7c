/** Builds the programs of the network benchmarks: the C program, and bundles for Node and Deno. */

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";

const REFERENCE_SOURCES = [
  "main.c",
  "load.c",
  "collector.c",
  "gauge.c",
  "udp-contender.c",
  "senders.c",
  "unix-contender.c",
  "datagrams.c",
  "measurement.c",
  "processors.c",
  "sockets.c",
  "support.c",
].map((file) => join(import.meta.dir, "reference", file));

/** The peers that run on Node and Deno. Bundled, since Node 20 does not run TypeScript. */
const BUNDLED = ["node-dgram.ts", "deno.ts", "unix-dgram.ts"];

/** Inside node_modules, so that bundles resolve the packages that are installed there. */
const folder = join(import.meta.dir, "../node_modules/.cache/datagram-bench", String(process.pid));

/** Compiles the C program once for each datagram length of `sizes`, and bundles the peers. */
export async function buildPrograms(sizes: readonly number[]): Promise<void> {
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
  if (!success) throw new AggregateError(logs, "the peers cannot be bundled");
}

/** Returns the path of the C program for datagrams of `bytes` bytes. */
export function referencePath(bytes: number = DEFAULT_DATAGRAM_BYTES): string {
  return join(folder, `reference-${bytes}`);
}

/** Returns the path of a peer's source, for Bun. */
export function peerSource(file: string): string {
  return join(import.meta.dir, "peers", file);
}

/** Returns the path of a bundled peer, for Node and Deno. */
export function peerBundle(file: string): string {
  return join(folder, file.replace(/\.ts$/, ".mjs"));
}

async function compile(bytes: number): Promise<void> {
  const defines = ["-D_GNU_SOURCE", `-DDATAGRAM_BYTES=${bytes}`];
  const options = ["-O2", ...defines, "-o", referencePath(bytes)];
  const gcc = Bun.spawn(["gcc", ...options, ...REFERENCE_SOURCES], { stderr: "inherit" });
  if ((await gcc.exited) !== 0) throw new Error(`gcc expected exit code 0, got ${gcc.exitCode}`);
}
