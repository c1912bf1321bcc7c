/** Loads the native module, and installs it first if it is missing. */

import { createRequire } from "node:module";
import { join } from "node:path";
import type { Quiche } from "./quiche.ts";

const PACKAGE = "@matrixai/quic-linux-x64";
const require = createRequire(import.meta.url);

/** The native module, or why it cannot be used here. */
export type QuicheResult =
  | { readonly quiche: Quiche; readonly reason?: never }
  | { readonly quiche?: never; readonly reason: string };

/** Returns the native module if it is installed. */
export function loadQuiche(): QuicheResult {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { reason: `${PACKAGE} is for linux-x64, this is ${process.platform}-${process.arch}` };
  }
  try {
    // By its path: Bun remembers that a package was missing.
    return { quiche: require(join(import.meta.dir, "node_modules", PACKAGE)) as Quiche };
  } catch (error) {
    return { reason: `${PACKAGE} cannot be loaded: ${(error as Error).message.split("\n", 1)[0]}` };
  }
}

/** Returns the native module. If it cannot be loaded, installs it with npm and tries again. */
export function installQuiche(): QuicheResult {
  const first = loadQuiche();
  if (first.quiche !== undefined || process.arch !== "x64") return first;
  const npm = Bun.which("npm");
  if (npm === null) return { reason: `${first.reason}; npm, which would install it, is missing` };
  const options = ["--no-package-lock", "--loglevel=error", "--no-fund", "--no-audit"];
  const { exitCode, stderr } = Bun.spawnSync(
    [npm, "install", "--prefix", import.meta.dir, ...options],
    { timeout: 60_000 },
  );
  const failure = stderr.toString().trim().split("\n", 1)[0];
  return exitCode === 0 ? loadQuiche() : { reason: `npm install failed: ${failure}` };
}
