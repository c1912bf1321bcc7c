/** The package as it is published, and the peers that import it, in a project of their own. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
/** What `npm pack` needs of the checkout. */
const PACKED = ["lib", "ffi", "c", "docs", "README.md", "LICENSE"];
const CONFIGURATION = ["package.json", "tsconfig.json", "tsconfig.dist.json", ".ci/bundle.ts"];
/** The modules of a peer. Copied, so that it loads as many of its own as the other contenders. */
const PEER_MODULES = ["bench/net/peers", "bench/net/datagrams.ts", "bench/statistics.ts"];
const IMPORT_OF_SOURCES = '"../../../lib/index.ts"';

/** The project, once it is installed. */
let project = "";

/** Returns the path of a peer that imports the published package. */
export function publishedPeer(file: string): string {
  return join(project, "bench/net/peers", file);
}

/**
 * Packs a copy of the checkout, installs the package in a project, and copies the peers there.
 *
 * @throws Error if npm fails.
 */
export async function installPublished(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "datagram-bench-package-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  project = join(folder, "project");
  const checkout = join(folder, "checkout");
  for (const path of [...PACKED, ...CONFIGURATION]) {
    cpSync(join(ROOT, path), join(checkout, path), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(checkout, "node_modules"));
  await run(["npm", "pack", "--loglevel=error", "--pack-destination", folder], checkout);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz")) as string;
  mkdirSync(project);
  await Bun.write(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  await run([process.execPath, "add", join(folder, tarball)], project);
  for (const path of PEER_MODULES) {
    cpSync(join(ROOT, path), join(project, path), { recursive: true });
  }
  const peers = join(project, "bench/net/peers");
  for (const name of readdirSync(peers)) {
    const text = await Bun.file(join(peers, name)).text();
    await Bun.write(join(peers, name), text.replaceAll(IMPORT_OF_SOURCES, '"datagram-socket"'));
  }
}

async function run(command: readonly string[], cwd: string): Promise<void> {
  const child = Bun.spawn([...command], { cwd, stdout: "ignore", stderr: "pipe" });
  const error = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} failed: ${error}`);
}
