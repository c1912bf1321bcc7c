/**
 * The Markdown files: their programs type-check with the packed package, and print what their
 * comments say; their links work.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { Glob } from "bun";
import { missing, output, ROOT, run, testIf } from "../ffi/tools.ts";
import { DOCUMENTS, fileNameOf, type Program, programsOf, read } from "./code-blocks.ts";
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
  skipLibCheck: true,
  noEmit: true,
};

/** The Markdown files of the repository that a reader may start from. */
const FILES = [
  ...DOCUMENTS,
  ...["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"],
  ...["bench/README.md", "test/README.md"],
  ...[...new Glob("examples/*/README.md").scanSync(ROOT)].sort(),
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
function brokenLinks(file: string, prose: string = proseOf(file)): string[] {
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link as string);
  return targets.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? file : normalize(join(dirname(file), path));
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).has(anchor);
  });
}

/** Returns the output of a program according to its comments: `console.log(...); // output`. */
function expectedOutput({ code }: Program): string[] {
  return [...code.matchAll(/^ *console\.log\(.*\); \/\/ (.+)$/gm)].map(
    ([, text]) => text as string,
  );
}

/** Returns a text in which inspected objects are on one line. */
const onOneLine = (text: string) => text.replace(/,?\s*\n\s+/g, " ").replace(/,\n}/g, " }");

const withoutNpm = missing("npm");
const project = mkdtempSync(join(tmpdir(), "datagram-socket-documents-"));
const programs = DOCUMENTS.flatMap((file) => programsOf(file));
const fileOf = (program: Program) => join(project, `${fileNameOf(program)}.ts`);

beforeAll(() => {
  if (withoutNpm !== undefined) return;
  installPackage(project);
  for (const program of programs) writeFileSync(fileOf(program), program.code);
}, TIMEOUT_MS);
afterAll(() => rmSync(project, { recursive: true, force: true }));

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

  testIf(withoutNpm)(
    "type-check with the declarations of the packed package",
    () => {
      const files = programs.map(fileOf);
      expect(new Set(files).size).toBe(files.length);
      expect(files.length).toBeGreaterThan(25);
      // The check can fail: of all files, only this one has an error.
      const wrong = 'import { UdpSocket } from "datagram-socket";\nUdpSocket.nothing();\n';
      writeFileSync(join(project, "wrong.ts"), wrong);
      const config = { compilerOptions: COMPILER_OPTIONS, files: [...files, "wrong.ts"] };
      writeFileSync(join(project, "tsconfig.json"), JSON.stringify(config));
      const { out } = run([join(ROOT, "node_modules/.bin/tsc"), "-p", project]);
      const errors = out.trim().split("\n");
      expect(errors).toEqual([
        expect.stringMatching(/wrong\.ts.*Property 'nothing' does not exist/),
      ]);
    },
    TIMEOUT_MS,
  );

  const printing = programs.filter((program) => expectedOutput(program).length > 0);

  test("of which at least eight say what they print", () => {
    expect(printing.length).toBeGreaterThanOrEqual(8);
  });

  testIf(withoutNpm).each(printing.map((program) => [`${program.file}, ${program.name}`, program]))(
    "print what they say: %s",
    (_, program) => {
      const printed = output([process.execPath, fileOf(program)], { cwd: project });
      expect(onOneLine(printed).trim().split("\n")).toEqual(expectedOutput(program));
    },
  );
});

describe("links", () => {
  test.each(FILES)("of %s lead to files and headings that exist", (file) => {
    expect(brokenLinks(file)).toEqual([]);
  });

  test("are found if they are broken", () => {
    const text = "[a](docs/nothing.md) [b](README.md#errors) [c](README.md#nothing) [d](https://e)";
    expect(brokenLinks("README.md", text)).toEqual(["docs/nothing.md", "README.md#nothing"]);
  });
});
