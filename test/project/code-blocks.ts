/** The TypeScript blocks of README.md and the guides, as programs. */

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../ffi/tools.ts";

/** A block of code, and the continuations of it. */
export interface Program {
  /** The file, relative to the root of the repository. */
  readonly file: string;
  /** The heading above the block, with a number if it is not the first one there. */
  readonly name: string;
  readonly code: string;
}

/** The files whose blocks are programs: pages of the site are not guides. */
export const DOCUMENTS: readonly string[] = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => /\.md$/.test(name) && !["index.md", "readme.md"].includes(name))
    .sort()
    .map((name) => `docs/${name}`),
];

/**
 * Returns the programs of a file. A block of type `ts` that imports something is a program of its
 * own. One without imports continues the program before it.
 */
export function programsOf(file: string, text: string = read(file)): Program[] {
  const programs: { file: string; name: string; code: string }[] = [];
  let heading = "";
  for (const [, title, code] of text.matchAll(/^#+ (.+)$|^```ts\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title.replaceAll("`", "");
    if (code === undefined) continue;
    const latest = programs.at(-1);
    if (latest !== undefined && !/^import /m.test(code)) {
      latest.code += code;
      continue;
    }
    const number = programs.filter(({ name }) => name.replace(/ \d+$/, "") === heading).length + 1;
    programs.push({ file, name: number === 1 ? heading : `${heading} ${number}`, code });
  }
  return programs;
}

/** Returns a name for the source file of a program: "README.echo". */
export function fileNameOf({ file, name }: Program): string {
  const words = name.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return `${basename(file, ".md")}.${words.join("-")}`;
}

/** Reads a file of the repository. */
export function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}
