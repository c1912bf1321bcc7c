/** The runner of the mutants, on a project with one function and one test. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Mutant, mutated } from "./mutant.ts";
import { judge, listErrors } from "./run-mutants.ts";

const SOURCE = "export function sum(a: number, b: number): number {\n  return a + b;\n}\n";
const TEST = `import { expect, test } from "bun:test";
import { sum } from "../sum.ts";
test("sums", () => expect(sum(1, 2)).toBe(3));
`;
const SUM = { file: "sum.ts", find: "a + b", tests: ["test/sum.test.ts"] };
const WRONG: Mutant = { ...SUM, name: "subtracts", replace: "a - b" };

/** The limit for a run that takes some 30 ms, beside four times that. */
const LIMIT_MS = 1000;

/** The runner copies the files that git lists. */
const git = Bun.which("git");
if (git === null) console.warn("tests of the mutants' runner are skipped: git is not installed");

let root = "";

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "datagram-socket-runner-"));
  mkdirSync(join(root, "test"));
  writeFileSync(join(root, "sum.ts"), SOURCE);
  writeFileSync(join(root, "test/sum.test.ts"), TEST);
  if (git !== null) Bun.spawnSync([git, "init", "--quiet", root]);
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

async function outcomes(mutants: readonly Mutant[]): Promise<unknown[]> {
  const list = [];
  for await (const { mutant, isKilled, result } of judge(
    [{ name: "sum", mutants }],
    root,
    LIMIT_MS,
  )) {
    list.push([mutant.name, isKilled, result.outcome]);
  }
  return list;
}

describe.skipIf(git === null)("judge", () => {
  test("reports failed tests and crashes as killed, and the others as survivors", async () => {
    const mutants = [
      WRONG,
      { ...SUM, name: "swaps the arguments", replace: "b + a" },
      { ...SUM, name: "crashes", replace: "process.kill(process.pid, 9) ? a + b : 0" },
    ];
    expect(await outcomes(mutants)).toEqual([
      ["subtracts", true, "failed"],
      ["swaps the arguments", false, "passed"],
      ["crashes", true, "failed"],
    ]);
    expect(readFileSync(join(root, "sum.ts"), "utf8")).toBe(SOURCE);
  });

  test("reports a hang as killed", async () => {
    const hang = { ...SUM, name: "hangs", replace: "((() => { for (;;); })(), a + b)" };
    expect(await outcomes([hang])).toEqual([["hangs", true, "timed out"]]);
  });

  test("throws if a test fails without a mutant", async () => {
    const test = "test/failing.test.ts";
    writeFileSync(
      join(root, test),
      'import { test } from "bun:test"; test("x", () => { throw 1; });',
    );
    const judged = outcomes([{ ...WRONG, tests: [test] }]);
    await expect(judged).rejects.toThrow(`${test} failed without a mutant`);
  });
});

describe.skipIf(git === null)("listErrors", () => {
  const errorsOf = (...mutants: Mutant[]) => listErrors([{ name: "sum", mutants }], root);

  test("is empty if every text occurs once", () => expect(errorsOf(WRONG)).toEqual([]));

  test("reports texts that occur never or twice, and edits without effect, as stale", () => {
    for (const [find, replace] of [
      ["a * b", "a - b"],
      ["number", "bigint"],
      ["", "x"],
      ["a + b", "a + b"],
    ] as const) {
      const [error] = errorsOf({ ...WRONG, find, replace });
      expect(error).toStartWith('stale mutant "subtracts"');
    }
  });

  test("reports edits that do not compile, files that do not exist, and equal names", () => {
    expect(errorsOf({ ...WRONG, replace: "a +" })[0]).toStartWith('invalid mutant "subtracts"');
    expect(errorsOf({ ...WRONG, file: "other.ts" })[0]).toContain("ENOENT");
    expect(errorsOf({ ...WRONG, tests: ["test/other.test.ts"] })[0]).toContain("other.test.ts");
    expect(errorsOf(WRONG, WRONG)).toEqual(['two mutants have the name "subtracts"']);
  });
});

describe.skipIf(git === null)("mutated", () => {
  test("inserts the replacement literally", () => {
    expect(mutated("a + b", { ...WRONG, replace: "$&$1" })).toBe("$&$1");
  });
});

test("every mutant of the repository applies", async () => {
  const folder = join(import.meta.dir, "areas");
  expect(existsSync(folder)).toBe(true);
  const areas = [];
  for (const file of new Bun.Glob("*.ts").scanSync(folder)) {
    const { mutants } = await import(join(folder, file));
    areas.push({ name: file, mutants });
  }
  expect(areas.length).toBeGreaterThan(0);
  expect(listErrors(areas, join(import.meta.dir, "../.."))).toEqual([]);
});
