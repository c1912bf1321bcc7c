/** A copy of the checkout, which the runner edits instead of the checkout itself. */

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Mutant, mutated } from "./mutant.ts";

export class Checkout implements Disposable {
  readonly root: string = mkdtempSync(join(tmpdir(), "datagram-socket-mutants-"));

  /** Copies the files that git tracks or would add, and links node_modules. */
  constructor(from: string) {
    // Some tests run a child as another user, which must be able to read the copy.
    chmodSync(this.root, 0o755);
    const list = [
      "git",
      "-C",
      from,
      "ls-files",
      "-z",
      "--cached",
      "--others",
      "--exclude-standard",
    ];
    const { stdout, exitCode, stderr } = Bun.spawnSync(list, { stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`git ls-files: ${stderr.toString()}`);
    for (const file of stdout.toString().split("\0")) {
      if (file === "" || !existsSync(join(from, file))) continue;
      mkdirSync(dirname(join(this.root, file)), { recursive: true });
      cpSync(join(from, file), join(this.root, file));
    }
    const modules = join(from, "node_modules");
    if (existsSync(modules)) symlinkSync(modules, join(this.root, "node_modules"));
  }

  /** Calls `action` while the copy contains the mistake. */
  async with<T>(mutant: Mutant, action: () => Promise<T>): Promise<T> {
    const path = join(this.root, mutant.file);
    const source = readFileSync(path, "utf8");
    writeFileSync(path, mutated(source, mutant));
    try {
      return await action();
    } finally {
      writeFileSync(path, source);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
