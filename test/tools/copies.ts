/** Copies of the library: further instances of it in one process, or other versions of it. */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** The file with the version that copies must have in common. */
const VERSION_FILE = "lib/support/thread-state.ts";

/** A folder with a copy of the library, which is removed when it is disposed. */
export class LibraryCopy implements Disposable {
  readonly path: string;

  /** @param abi the ABI version of the copy. Default: that of this library. */
  constructor(abi?: string) {
    this.path = mkdtempSync(join(tmpdir(), "datagram-socket-copy-"));
    for (const folder of ["lib", "ffi", "c"]) {
      cpSync(join(ROOT, folder), join(this.path, folder), { recursive: true });
    }
    if (abi !== undefined) this.#setVersion(abi);
  }

  /** The path of a module of the copy. */
  module(path: string): string {
    return join(this.path, path);
  }

  /** Imports the copy. */
  load(): Promise<typeof import("../../lib/index.ts")> {
    return import(this.module("lib/index.ts"));
  }

  #setVersion(abi: string): void {
    const path = this.module(VERSION_FILE);
    const source = readFileSync(path, "utf8");
    const edited = source.replace(/ABI_VERSION = "[^"]+"/, `ABI_VERSION = "${abi}"`);
    if (edited === source) throw new Error(`${VERSION_FILE} has no ABI version`);
    writeFileSync(path, edited);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
