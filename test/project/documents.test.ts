/** The Markdown files: their programs type-check with the packed package, and their links work. */

import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { missing, ROOT, run, temporaryDirectory, testIf } from "../ffi/tools.ts";
import { DOCUMENTS, fileNameOf, programsOf, read } from "./code-blocks.ts";
import { installPackage } from "./packed.ts";

const TIMEOUT_MS = 120_000;

/** Strict options that a user may have. */
const COMPILER_OPTIONS = {
  target: "ESNext",
  module: "Preserve",
  types: ["bun-types"],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
};

/** The Markdown files of the repository that a reader may start from. */
const FILES = [
  ...DOCUMENTS,
  ...["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"],
  ...["bench/README.md", "test/README.md"],
];

/** Returns the text without blocks of code, whose brackets are not links. */
const proseOf = (file: string) => read(file).replace(/^```[\s\S]*?^```$/gm, "");

/** Returns the anchors of the headings of a file, as GitHub makes them. */
function anchorsOf(file: string): Set<string> {
  const headings = [...proseOf(file).matchAll(/^#+ (.+)$/gm)].map(([, text]) => text as string);
  const anchorOf = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
  return new Set(headings.map(anchorOf));
}

/** Returns the links of a file to files and anchors that do not exist. */
function brokenLinks(file: string): string[] {
  const targets = [...proseOf(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link as string);
  return targets.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? file : normalize(join(dirname(file), path));
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).has(anchor);
  });
}

describe("programs in Markdown", () => {
  test("a block without imports continues the program before it", () => {
    const block = (code: string) => `\`\`\`ts\n${code}\`\`\`\n`;
    const first = 'import { a } from "a";\na();\n';
    const text = `# Title \`x\`\n${block(first)}text\n${block("b();\n")}${block(first)}## Other\n`;
    expect(programsOf("file.md", text)).toEqual([
      { file: "file.md", name: "Title x", code: `${first}b();\n` },
      { file: "file.md", name: "Title x 2", code: first },
    ]);
  });

  testIf(missing("npm"))(
    "type-check with the declarations of the packed package",
    () => {
      using project = temporaryDirectory();
      installPackage(project.path);
      const programs = DOCUMENTS.flatMap((file) => programsOf(file));
      expect(programs.length).toBeGreaterThan(15);
      const files = programs.map((program) => `${fileNameOf(program)}.ts`);
      expect(new Set(files).size).toBe(files.length);
      for (const [i, { code }] of programs.entries()) {
        writeFileSync(join(project.path, files[i] as string), code);
      }
      const check = () => {
        const config = JSON.stringify({ compilerOptions: COMPILER_OPTIONS, files });
        writeFileSync(join(project.path, "tsconfig.json"), config);
        return run([join(ROOT, "node_modules/.bin/tsc"), "-p", project.path]).out;
      };
      expect(check()).toBe("");
      // The check can fail.
      const wrong = 'import { UdpSocket } from "datagram-socket";\nUdpSocket.nothing();\n';
      writeFileSync(join(project.path, files[0] as string), wrong);
      expect(check()).toContain("Property 'nothing' does not exist");
    },
    TIMEOUT_MS,
  );
});

describe("links", () => {
  test.each(FILES)("of %s lead to files and headings that exist", (file) => {
    expect(brokenLinks(file)).toEqual([]);
  });

  test("are found if they are broken", () => {
    expect(anchorsOf("README.md")).toContain("versions-and-stability");
    expect(
      FILES.flatMap((file) => proseOf(file).match(/\]\([^)\s]+\)/g) ?? []).length,
    ).toBeGreaterThan(30);
  });
});
