/** The package as npm would publish it. */

import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { output, ROOT, temporaryDirectory } from "../ffi/tools.ts";

/** What `npm pack` needs of the checkout, without the documentation. */
const PACKED = ["lib", "ffi", "c", ".ci", "README.md", "LICENSE"];
const CONFIGURATION = ["package.json", "tsconfig.json", "tsconfig.dist.json"];

/** The tarball, in memory: no file is left when the tests end. */
let packed: Uint8Array | undefined;

/** Writes the tarball to `path`. Packs once for all test files of the process. */
export function writeTarball(path: string): void {
  packed ??= pack();
  writeFileSync(path, packed);
}

/** Packs a copy of the checkout: `npm pack` changes files that other tests may read meanwhile. */
function pack(): Uint8Array {
  using workspace = temporaryDirectory();
  const copy = join(workspace.path, "checkout");
  for (const path of [...PACKED, ...CONFIGURATION]) {
    cpSync(join(ROOT, path), join(copy, path), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const printed = output(["npm", "pack", "--silent"], { cwd: copy });
  return readFileSync(join(copy, printed.trim().split("\n").at(-1) as string));
}

/** Installs the package and the types of Bun in a folder. */
export function installPackage(folder: string): void {
  const modules = join(folder, "node_modules");
  const installed = join(modules, "datagram-socket");
  mkdirSync(installed, { recursive: true });
  const tarball = join(folder, "package.tgz");
  writeTarball(tarball);
  output(["tar", "-xzf", tarball, "--strip-components=1", "-C", installed]);
  symlinkSync(join(ROOT, "node_modules/bun-types"), join(modules, "bun-types"));
}
