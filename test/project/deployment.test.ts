/**
 * The ways to deploy a program: bundled from the packed tarball by several bundlers, and run in
 * another folder without the package.
 */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missing, output, run, testIf } from "../ffi/tools.ts";
import { writeTarball } from "./packed.ts";

const BUN = process.execPath;
const TIMEOUT_MS = 120_000;

/** The bundlers that are not part of Bun, in exact versions. */
const BUNDLERS = ["esbuild@0.28.2", "tsdown@0.23.7"];

/** Receives a datagram, and prints the backend. Without top-level `await`: for CommonJS as well. */
const PROGRAM = `import { UdpSocket } from "datagram-socket";

async function main(): Promise<void> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  await socket.sendTo(new Uint8Array(8), socket.localAddr);
  console.log(socket.backend, await socket.recv(new Uint8Array(16)));
  socket.close();
}
void main();
`;
const PRINTED = "native 8\n";

/** The options of `bun build`, and the output relative to the folder `out`. */
const BUN_BUILDS: Record<string, readonly string[]> = {
  "one file": ["main.js", "--outfile=out/main.js"],
  "a folder": ["main.js", "--outdir=out"],
  "a minified file": ["main.js", "--outfile=out/main.js", "--minify"],
  "a file with bytecode": ["main.js", "--outdir=out", "--bytecode"],
  "an executable": ["program", "--compile", "--outfile=out/program"],
  "a minified executable": ["program", "--compile", "--outfile=out/program", "--minify"],
  "an executable with bytecode": ["program", "--compile", "--outfile=out/program", "--bytecode"],
};

const workspace = mkdtempSync(join(tmpdir(), "datagram-socket-deployment-"));
const tarball = join(workspace, "package.tgz");
const withoutNpm = missing("npm");
const testWithNpm = testIf(withoutNpm);
const bundlers = join(workspace, "bundlers");
const testWithBundlers = testIf(withoutNpm ?? installBundlers());

/** Installs the bundlers, and returns the reason if that is not possible. */
function installBundlers(): string | undefined {
  mkdirSync(bundlers);
  writeFileSync(join(bundlers, "package.json"), '{ "private": true }\n');
  const options = ["--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"];
  const { code, err } = run(["npm", "install", ...options, ...BUNDLERS], { cwd: bundlers });
  return code === 0 ? undefined : `${BUNDLERS.join(", ")} cannot be installed: ${err.trim()}`;
}

beforeAll(() => {
  if (withoutNpm === undefined) writeTarball(tarball);
}, TIMEOUT_MS);

afterAll(() => rmSync(workspace, { recursive: true, force: true }));

/** Creates a project that has the package as a development dependency, which bundlers include. */
function makeProject(name: string): string {
  const project = join(workspace, name);
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  writeFileSync(join(project, "main.ts"), PROGRAM);
  output([BUN, "add", "--dev", tarball], { cwd: project });
  return project;
}

/** Moves the folder `out` of a project elsewhere, removes the sources, and runs a file of it. */
function runElsewhere(project: string, file: string): string {
  const folder = join(workspace, "deployed");
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(project, "out"), folder, { recursive: true });
  rmSync(project, { recursive: true });
  const path = join(folder, file);
  const command = file === "program" ? [path] : [BUN, path];
  return output(command, { cwd: folder });
}

describe("bun build", () => {
  for (const [name, [file = "", ...options]] of Object.entries(BUN_BUILDS)) {
    testWithNpm(
      `makes ${name} with the native backend`,
      () => {
        const project = makeProject(name.replaceAll(" ", "-"));
        output([BUN, "build", "main.ts", "--target=bun", ...options], { cwd: project });
        expect(runElsewhere(project, file)).toBe(PRINTED);
      },
      TIMEOUT_MS,
    );
  }
});

describe("other bundlers", () => {
  const esbuild = (...options: string[]) => [
    "esbuild/bin/esbuild",
    ...["main.ts", "--bundle", "--format=esm", "--platform=node", "--external:bun:*"],
    ...["--outfile=out/main.mjs", ...options],
  ];
  const tsdown = (...options: string[]) => [
    ...["tsdown/dist/run.mjs", "main.ts", "--format=esm", "--platform=node", "--no-dts"],
    ...["--deps.never-bundle=bun:ffi", "--out-dir=out", ...options],
  ];

  for (const [name, [script = "", ...options]] of Object.entries({
    esbuild: esbuild(),
    "esbuild, minified": esbuild("--minify"),
    tsdown: tsdown(),
    "tsdown, minified": tsdown("--minify"),
  })) {
    testWithBundlers(
      `${name}: the bundle has the native backend`,
      () => {
        const project = makeProject(name.replace(", ", "-"));
        // esbuild is an executable. tsdown requires a newer Node than some systems have.
        const path = join(bundlers, "node_modules", script);
        const command = script.endsWith(".mjs") ? [BUN, path] : [path];
        output([...command, ...options], { cwd: project });
        expect(runElsewhere(project, "main.mjs")).toBe(PRINTED);
      },
      TIMEOUT_MS,
    );
  }
});

testWithNpm(
  "a bundle without a compiler uses the portable backend, with one warning that says what to change",
  () => {
    const project = makeProject("no-compiler");
    output([BUN, "build", "main.ts", "--target=bun", "--outdir=out"], { cwd: project });
    const bundle = join(project, "out/main.js");
    const { code, out, err } = run([BUN, "--no-ffi-cc", bundle], { cwd: project });
    expect([code, out]).toEqual([0, "portable 8\n"]);
    expect(err.match(/DatagramSocketWarning/g)).toHaveLength(1);
    expect(err).toContain("remove --no-ffi-cc");
  },
  TIMEOUT_MS,
);
