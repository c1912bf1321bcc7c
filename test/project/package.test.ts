/** The npm package: its manifest, its files, its types, and its use in a new project. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
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
import { dirname, join, normalize } from "node:path";
import { Glob } from "bun";
import { isSupportedBun } from "../../ffi/load.ts";
import { runCommand } from "../tools/sockets.ts";

const ROOT = join(import.meta.dir, "../..");
const TSC = join(ROOT, "node_modules/.bin/tsc");
const BUILD_TIMEOUT_MS = 120_000;

const manifest = JSON.parse(read("package.json"));
/** The names of the modules of the package: ".", "./testing", ... */
const entryPoints = Object.keys(manifest.exports).filter((name) => name !== "./package.json");
const npm = Bun.which("npm");
if (npm === null) console.warn("package tests are skipped: npm is not installed");
const testWithNpm = npm === null ? test.skip : test;

/** A program that uses the package, and its output. */
const PROGRAM = `import { DgramBuffer, UdpSocket } from "datagram-socket";
import { SimNetwork } from "datagram-socket/testing";

await using server = await UdpSocket.bind({ hostname: "127.0.0.1" });
await using client = await UdpSocket.connect({ hostname: "127.0.0.1", port: server.localAddr.port });
const datagram = DgramBuffer.withCapacityAndHeadroom(64, 16);
datagram.putSlice(new TextEncoder().encode("hello"));
datagram.tryAddVarintPrefix(7);
await client.send(datagram);
const received: DgramBuffer = DgramBuffer.withCapacity(64);
await server.recv(received);
console.log(received.readVarint(), new TextDecoder().decode(received.asSlice()));

const net = new SimNetwork({ seed: 1 });
const simulated = net.bind("10.0.0.1", 53);
await net.run(() => simulated.sendTo(received, simulated.localAddr));
console.log(net.report.sent);
`;
const PRINTED = "7 hello\n1\n";

/** A program that receives a datagram, and prints how it was loaded. */
const START_PROGRAM = `import { UdpSocket } from "datagram-socket";

await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
await socket.sendTo(new Uint8Array(8), socket.localAddr);
await socket.recvFrom(new Uint8Array(16));
const position = await UdpSocket.bind({ port: -1 }).catch((error) => error.stack);
console.log(
  JSON.stringify({
    backend: socket.backend,
    className: UdpSocket.name,
    modules: Object.keys(require.cache),
    position,
  }),
);
`;

/** The maximum number of modules of the package that the first datagram may load. */
const PUBLISHED_MODULES_MAX = 9;

/** Receives from clients that require the npm package `unix-dgram`. */
const UNIX_DGRAM_PROGRAM = `import StatsD from "hot-shots";
import winston from "winston";
import { Syslog } from "winston-syslog";
import { UnixDatagram } from "unix-dgram";
import unixDgram = require("unix-dgram");

/** Receives one datagram at a path. */
async function listen(name: string) {
  const socket = await UnixDatagram.bind(name + ".sock");
  const buffer = new Uint8Array(2000);
  return async () => {
    const length = await socket.recv(buffer, { signal: AbortSignal.timeout(10_000) });
    socket.close();
    console.log(name.split("-")[0] + ":", new TextDecoder().decode(buffer.subarray(0, length)).trim());
  };
}

const receiveMetric = await listen("statsd");
const statsd = new StatsD({ protocol: "uds", path: "statsd.sock" });
statsd.increment("requests");
await receiveMetric();
await new Promise((resolve) => statsd.close(resolve));

for (const protocol of ["unix", "unix-connect"]) {
  const receiveLine = await listen("syslog-" + protocol);
  const transport = new Syslog({ protocol, path: "syslog-" + protocol + ".sock" });
  winston.createLogger({ transports: [transport], format: winston.format.simple() }).info("hello");
  await receiveLine();
  transport.close();
}
console.log("esm:", typeof unixDgram);
process.exit();
`;

/** Strict compiler options that a user may have. The declarations must compile with them. */
const STRICT = {
  target: "ESNext",
  lib: ["ESNext"],
  types: ["bun-types"],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noPropertyAccessFromIndexSignature: true,
  noEmit: true,
  skipLibCheck: false,
};

/** What is printed outside of Bun. */
const BUN_REQUIRED = `datagram-socket requires ${manifest.engines.bun.replace(">=", "Bun >= ")}: https://bun.sh`;

let workspace = "";
let tarball = "";
/** A tarball of the checkout, as an installer from git would unpack it. */
let checkoutTarball = "";
let files: string[] = [];

/** Packs a copy of the checkout: tests that run at the same time must not find the build output. */
beforeAll(async () => {
  workspace = mkdtempSync(join(tmpdir(), "datagram-socket-package-"));
  if (npm === null) return;
  const copy = join(workspace, "checkout");
  mkdirSync(copy);
  for (const name of new Glob("*").scanSync({ cwd: ROOT, dot: true, onlyFiles: false })) {
    if (name === ".git" || name === "node_modules" || name === "dist") continue;
    // The packages of the benchmarks and of the documentation site have modules of their own.
    const filter = (path: string) => !path.endsWith("/node_modules");
    cpSync(join(ROOT, name), join(copy, name), { recursive: true, filter });
  }
  // The output of an earlier build must not be packed.
  mkdirSync(join(copy, "dist/stale"), { recursive: true });
  writeFileSync(join(copy, "dist/stale/old.d.ts"), "export {};\n");
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  await succeed(["npm", "pack", "--pack-destination", workspace], copy);
  checkoutTarball = join(workspace, "checkout.tgz");
  const sources = ["--exclude=node_modules", "--exclude=dist", "checkout"];
  await succeed(["tar", "-czf", checkoutTarball, ...sources], workspace);
  tarball = join(workspace, `datagram-socket-${manifest.version}.tgz`);
  await succeed(["tar", "-xzf", tarball], workspace);
  files = [...new Glob("**").scanSync({ cwd: join(workspace, "package"), dot: true })].sort();
}, BUILD_TIMEOUT_MS);

afterAll(() => rmSync(workspace, { recursive: true, force: true }));

describe("package.json", () => {
  test("has only development dependencies, with exact versions", () => {
    for (const kind of ["dependencies", "peerDependencies", "optionalDependencies"]) {
      expect(Object.keys(manifest[kind] ?? {})).toEqual([]);
    }
    for (const [name, version] of Object.entries(manifest.devDependencies)) {
      expect([name, version]).toEqual([name, expect.stringMatching(/^\d+\.\d+\.\d+$/)]);
    }
  });

  test("declares an ES module for Bun, and accepts the installed version", () => {
    expect(manifest.type).toBe("module");
    expect(Object.keys(manifest.engines)).toEqual(["bun"]);
    expect(Bun.semver.satisfies(Bun.version, manifest.engines.bun)).toBe(true);
    expect(Bun.semver.satisfies(manifest.devDependencies.bun, manifest.engines.bun)).toBe(true);
  });

  test("accepts exactly the versions of Bun that compile the shim", () => {
    for (const version of ["1.3.9", "1.4.0", "1.4.2", "1.4.3", "1.4.10", "1.5.0", "2.0.0"]) {
      const isAccepted = Bun.semver.satisfies(version, manifest.engines.bun);
      expect([version, isAccepted]).toEqual([version, isSupportedBun(version)]);
    }
  });

  test("has no install scripts", () => {
    for (const script of ["preinstall", "install", "postinstall", "prepare"]) {
      expect(manifest.scripts[script]).toBeUndefined();
    }
  });

  test("has only scripts whose file exists", () => {
    for (const command of Object.values<string>(manifest.scripts)) {
      const path = /^bun (?!test|build)(\S+)/.exec(command)?.[1];
      if (path !== undefined) expect([path, existsSync(join(ROOT, path))]).toEqual([path, true]);
    }
  });
});

const sourceOf = (path: string) => readFileSync(join(workspace, "package", path), "utf8");

/** Returns a bundle and those that it imports statically. */
function reachedBy(path: string, seen: Set<string> = new Set()): string[] {
  if (seen.has(path)) return [...seen];
  seen.add(path);
  for (const one of new Bun.Transpiler({ loader: "js" }).scanImports(sourceOf(path))) {
    const isBundle = one.kind === "import-statement" && /^\..*\.js$/.test(one.path);
    if (isBundle) reachedBy(normalize(join(dirname(path), one.path)), seen);
  }
  return [...seen];
}

/**
 * Returns the exports of an entry point: the names of functions, and null for other values. It is
 * loaded in a process of its own: `./dgram/register` replaces `node:dgram` for all later tests.
 */
async function exportsOf(entry: string): Promise<Record<string, string | null>> {
  const path = JSON.stringify(join(workspace, "package/dist", entry, "index.js"));
  const program = `const entries = Object.entries(await import(${path}));
    const nameOf = (value) => (typeof value === "function" ? value.name : null);
    console.log(JSON.stringify(Object.fromEntries(entries.map(([k, v]) => [k, nameOf(v)]))));`;
  return JSON.parse(await succeed([process.execPath, "-e", program], workspace));
}

/** Returns the bundles of the package: the entry points, and the code that they share. */
const bundles = () => files.filter((path) => /^dist\/.*\.js$/.test(path));

describe("the tarball", () => {
  testWithNpm("exports the bundle, the checkout exports the sources", () => {
    const packed = JSON.parse(readFileSync(join(workspace, "package/package.json"), "utf8"));
    for (const name of entryPoints) {
      const path = `${name.slice(2)}/index`.replace(/^\//, "");
      const expected = (file: string, required: string) => ({
        types: `./dist/lib/${path}.d.ts`,
        bun: name === "." ? { require: required, default: file } : file,
        module: name === "." ? { require: required, default: file } : file,
        default: "./lib/outside-bun.js",
      });
      const source = expected(`./lib/${path}.ts`, "./lib/required.ts");
      expect([name, manifest.exports[name]]).toEqual([name, source]);
      const bundle = expected(`./dist/${path}.js`, "./dist/required.js");
      expect([name, packed.exports[name]]).toEqual([name, bundle]);
    }
    // The checkout is unchanged after packing, and the manifests differ in nothing else.
    expect(readFileSync(join(workspace, "checkout/package.json"), "utf8")).toBe(
      read("package.json"),
    );
    expect({ ...packed, exports: manifest.exports }).toEqual(manifest);
  });

  testWithNpm("contains every file that package.json exports", () => {
    const packed = JSON.parse(readFileSync(join(workspace, "package/package.json"), "utf8"));
    const { exports, bin } = packed;
    const paths = JSON.stringify({ exports, bin }).match(/(?<=:")[^"]+/g) ?? [];
    expect(paths.length).toBeGreaterThan(4 * entryPoints.length);
    for (const path of paths) expect(files).toContain(normalize(path));
  });

  testWithNpm("contains only sources, declarations, documentation, licence and manifest", () => {
    const sources = [...new Glob("{lib,ffi}/**/*.ts").scanSync(ROOT)];
    const declarations = sources
      .filter((path) => !path.endsWith(".d.ts"))
      .map((path) => `dist/${path.replace(/\.ts$/, ".d.ts")}`);
    const scripts = [...new Glob("lib/**/*.js").scanSync(ROOT)];
    expect(scripts.sort()).toEqual(["lib/doctor/bin.js", "lib/outside-bun.js"]);
    const shim = [...new Glob("c/**").scanSync(ROOT)];
    const bundle = bundles().flatMap((path) => [path, `${path}.map`]);
    const texts = ["LICENSE", "README.md", "package.json"];
    // index.md and readme.md are pages of the documentation site.
    const guides = [...new Glob("docs/*.md").scanSync(ROOT)].filter(
      (path) => !["docs/index.md", "docs/readme.md"].includes(path),
    );
    const expected = [
      ...texts,
      ...guides,
      ...sources,
      ...scripts,
      ...shim,
      ...declarations,
      ...bundle,
    ];
    expect(files).toEqual(expected.sort());
  });

  testWithNpm("has bundles that import only bun:ffi and what they share", () => {
    const imports = bundles().flatMap((path) => {
      const text = readFileSync(join(workspace, "package", path), "utf8");
      return new Bun.Transpiler({ loader: "js" }).scanImports(text);
    });
    const paths = imports.filter(({ kind }) => kind === "import-statement").map((one) => one.path);
    const isShared = (path: string) => /^(?:\.\.?\/)+shared-\w+\.js$/.test(path);
    const others = new Set(paths.filter((path) => !isShared(path)));
    // Only for `datagram-socket/unix-dgram`, `datagram-socket/dgram`, and for `require`.
    expect([...others].sort()).toEqual(["bun:ffi", "bun:jsc", "events"]);
    expect(
      reachedBy("dist/index.js").filter((path) => /"(?:events|bun:jsc)"/.test(sourceOf(path))),
    ).toEqual([]);
    expect(bundles()).toContain("dist/testing/index.js");
    const dynamic = imports.filter(({ kind }) => kind === "dynamic-import").map((one) => one.path);
    const modules = dynamic.filter((path) => !isShared(path));
    expect(modules.map((path) => path.replace(/^node:/, ""))).toEqual(["dns/promises"]);
  });

  testWithNpm("exports classes and functions under their own names", async () => {
    for (const entry of entryPoints) {
      const exported = await exportsOf(entry);
      for (const [name, functionName] of Object.entries(exported)) {
        if (functionName !== null) expect([name, functionName]).toEqual([name, name]);
      }
    }
  });

  testWithNpm("has a source map that refers to the sources of the package", () => {
    const sources = bundles().flatMap((path) => {
      const map = JSON.parse(readFileSync(join(workspace, "package", `${path}.map`), "utf8"));
      return map.sources.map((source: string) => normalize(join(dirname(path), source)));
    });
    expect(sources.length).toBeGreaterThan(50);
    expect(sources.filter((path: string) => !files.includes(path))).toEqual([]);
  });

  testWithNpm("has declarations that import only each other, bun:ffi and Node modules", () => {
    for (const file of files.filter((path) => /^dist\/.*\.d\.ts$/.test(path))) {
      const text = readFileSync(join(workspace, "package", file), "utf8");
      for (const [, specifier] of text.matchAll(/(?:from|import\() ?"([^"]+)"/g)) {
        if (specifier?.startsWith("node:") || specifier === "bun:ffi") continue;
        const target = join(dirname(file), specifier as string).replace(/\.ts$/, ".d.ts");
        expect([file, specifier, files.includes(target)]).toEqual([file, specifier, true]);
      }
    }
  });

  testWithNpm("declares no internal members", () => {
    for (const file of files.filter((path) => path.startsWith("dist/lib/"))) {
      const text = readFileSync(join(workspace, "package", file), "utf8");
      expect([file, /@internal|^\s+(?:static |readonly |get )*_\w+[(:]/m.test(text)]).toEqual([
        file,
        false,
      ]);
    }
  });
});

describe("a project that installs the tarball", () => {
  testWithNpm(
    "with bun add runs a program and type-checks (bundler and NodeNext resolution)",
    async () => {
      const project = makeProject("by-bun");
      await succeed([process.execPath, "add", tarball], project);
      expect(await succeed([process.execPath, "main.ts"], project)).toBe(PRINTED);
      await checkTypes(project);
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "with npm runs a program and type-checks (bundler and NodeNext resolution)",
    async () => {
      const project = makeProject("by-npm");
      await succeed(["npm", "install", "--offline", "--no-audit", "--no-fund", tarball], project);
      expect(await succeed([process.execPath, "main.ts"], project)).toBe(PRINTED);
      await checkTypes(project);
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "loads few modules of it, whose errors have the positions of the sources",
    async () => {
      const project = makeProject("start", START_PROGRAM);
      await succeed([process.execPath, "add", tarball], project);
      const { backend, className, modules, position } = JSON.parse(
        await succeed([process.execPath, "main.ts"], project),
      );
      // Class names appear in inspected objects and stack traces.
      expect([backend, className]).toEqual(["native", "UdpSocket"]);
      const installed = join(project, "node_modules/datagram-socket");
      const ofPackage = modules.filter((path: string) => path.startsWith(installed));
      const paths = ofPackage.map((path: string) => path.slice(installed.length + 1)).sort();
      // The others have code that several entry points share.
      expect(paths[0]).toBe("dist/index.js");
      expect(paths.length).toBeLessThanOrEqual(PUBLISHED_MODULES_MAX);
      expect(position).toMatch(/lib\/support\/check\.ts:\d+/);
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "has a program that bunx and npx start with Bun; without Bun, npx says that it is required",
    async () => {
      const project = makeProject("program");
      await succeed([process.execPath, "add", tarball], project);
      const command = ["--no-install", "datagram-socket", "doctor", "--json"];
      const withoutBun = folderOfPrograms("without-bun", ["node", "npx", "sh"]);
      const withBun = folderOfPrograms("with-bun", ["node", "npx", "sh"]);
      symlinkSync(process.execPath, join(withBun, "bun"));
      // The variables that scripts of npm inherit.
      const ofNpm = { npm_config_user_agent: "npm/11.0.0", npm_execpath: "/npm/bin/npm-cli.js" };
      for (const [program, env] of [
        ["bun x", {}],
        ["bun x", { ...ofNpm, PATH: withBun }],
        ["npx", { PATH: withBun }],
      ] as const) {
        const start = program === "npx" ? ["npx"] : [process.execPath, "x"];
        const report = JSON.parse(await succeed([...start, ...command], project, env));
        expect([report.version, report.backend.name]).toEqual([manifest.version, "native"]);
      }
      const outcome = await run(["npx", ...command], project, { PATH: withoutBun });
      const { exitCode, stdout, stderr } = outcome;
      expect([exitCode, stdout, stderr]).toEqual([1, "", `${BUN_REQUIRED}\n`]);
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "fails under Node with one line that names the version of Bun",
    async () => {
      const project = makeProject("by-node");
      await succeed([process.execPath, "add", tarball], project);
      for (const name of entryPoints) {
        const module = `datagram-socket${name.slice(1)}`;
        const exported = Object.keys(await exportsOf(name));
        const names = exported.map((each, i) => `${each} as name${i}`);
        writeFileSync(
          join(project, "main.mjs"),
          `import { ${names.join(", ")} } from "${module}";\n`,
        );
        const { exitCode, stderr } = await run(["node", "main.mjs"], project);
        expect([module, exitCode]).toEqual([module, 1]);
        const lines = stderr.split("\n").filter((line) => line.includes("Error"));
        expect(lines).toEqual([`[Error: ${BUN_REQUIRED}]`]);
      }
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "from git runs a program from the sources, without a build",
    async () => {
      const project = makeProject("from-git", START_PROGRAM);
      await succeed([process.execPath, "add", checkoutTarball], project);
      const printed = JSON.parse(await succeed([process.execPath, "main.ts"], project));
      expect(printed.backend).toBe("native");
      expect(printed.modules).toContain(join(project, "node_modules/datagram-socket/lib/index.ts"));
    },
    BUILD_TIMEOUT_MS,
  );

  testWithNpm(
    "in place of unix-dgram: hot-shots and winston-syslog send to a Unix socket",
    async () => {
      const project = makeProject("unix-dgram", UNIX_DGRAM_PROGRAM);
      const dependencies = { "hot-shots": "17.1.1", winston: "3.19.0", "winston-syslog": "2.7.1" };
      const overrides = { "unix-dgram": tarball };
      const root = {
        private: true,
        dependencies: { ...dependencies, "unix-dgram": "2" },
        overrides,
      };
      writeFileSync(join(project, "package.json"), JSON.stringify(root));
      const installed = await run([process.execPath, "install", "--ignore-scripts"], project);
      if (/ConnectionRefused|Timeout|failed to resolve|ENOTFOUND/i.test(installed.stderr)) {
        console.warn(`skipped, no registry: ${installed.stderr}`);
        return;
      }
      expect([installed.exitCode, installed.stderr]).toEqual([0, expect.any(String)]);
      const name = JSON.parse(
        readFileSync(join(project, "node_modules/unix-dgram/package.json"), "utf8"),
      ).name;
      expect(name).toBe("datagram-socket");
      const printed = (await succeed([process.execPath, "main.ts"], project)).trim().split("\n");
      expect(printed).toEqual([
        "statsd: requests:1|c",
        expect.stringMatching(/^syslog: <\d+>.*hello$/),
        expect.stringMatching(/^syslog: <\d+>.*hello$/),
        "esm: object",
      ]);
    },
    BUILD_TIMEOUT_MS,
  );

  function makeProject(name: string, program = PROGRAM): string {
    const project = join(workspace, name);
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
    writeFileSync(join(project, "main.ts"), program);
    return project;
  }

  async function checkTypes(project: string): Promise<void> {
    const types = join(project, "node_modules/bun-types");
    symlinkSync(join(ROOT, "node_modules/bun-types"), types);
    for (const module of ["Preserve", "NodeNext"]) {
      const compilerOptions = { ...STRICT, module };
      const config = JSON.stringify({ compilerOptions, files: ["main.ts"] });
      writeFileSync(join(project, "tsconfig.json"), config);
      const listed = await succeed([TSC, "--listFiles"], project);
      // The compiler must use the declarations: the sources need not compile with these options.
      const packageFiles = listed.split("\n").filter((path) => path.includes("/datagram-socket/"));
      expect(packageFiles.length).toBeGreaterThan(10);
      expect(packageFiles.filter((path) => !path.endsWith(".d.ts"))).toEqual([]);
      writeFileSync(join(project, "main.ts"), `${PROGRAM}server.nothing();\n`);
      expect((await run([TSC], project)).stdout).toContain("'nothing' does not exist");
      writeFileSync(join(project, "main.ts"), PROGRAM);
    }
  }
});

describe("lockfiles", () => {
  const npmLock = JSON.parse(read("package-lock.json"));
  const bunLock = JSON.parse(read("bun.lock").replace(/,(\s*[}\]])/g, "$1"));

  test("package-lock.json and bun.lock contain the same versions", () => {
    const byNpm = Object.entries<{ name?: string; version: string }>(npmLock.packages)
      .filter(([path]) => path !== "")
      .map(([path, { name, version }]) => {
        return `${name ?? path.split("node_modules/").at(-1)}@${version}`;
      });
    const byBun = Object.values<[string]>(bunLock.packages).map(([identifier]) => identifier);
    expect([...new Set(byBun)].sort()).toEqual([...new Set(byNpm)].sort());
    expect(bunLock.workspaces[""].devDependencies).toEqual(manifest.devDependencies);
    expect(npmLock.packages[""].devDependencies).toEqual(manifest.devDependencies);
  });

  test("package-lock.json contains the packages for all platforms, which npm ci requires", () => {
    const entries = Object.entries<{ optionalDependencies?: object }>(npmLock.packages);
    for (const [path, { optionalDependencies = {} }] of entries) {
      for (const name of Object.keys(optionalDependencies)) {
        const isLocked = Object.hasOwn(npmLock.packages, `node_modules/${name}`);
        expect([path, name, isLocked]).toEqual([path, name, true]);
      }
    }
  });

  test("no lockfile or configuration file contains a registry host", () => {
    for (const file of ["package-lock.json", "bun.lock", ".npmrc", "bunfig.toml", "package.json"]) {
      const lines = read(file).split("\n");
      const hosts = lines.filter(
        (line) =>
          /registry\s*[=:]|"resolved"/.test(line) || /https?:\/\/\S*(registry|npm)/.test(line),
      );
      expect([file, ...hosts]).toEqual([file]);
    }
  });
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Runs a command in a folder. */
async function run(
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
) {
  const inFolder = ["sh", "-c", 'cd "$0" && exec "$@"', cwd, ...command];
  return await runCommand(inFolder, { npm_config_loglevel: "error", ...env });
}

/** Returns a new folder with links to programs, to be the only one in PATH. */
function folderOfPrograms(name: string, programs: readonly string[]): string {
  const folder = join(workspace, name);
  mkdirSync(folder);
  for (const program of programs) symlinkSync(Bun.which(program) as string, join(folder, program));
  return folder;
}

/** Runs a command, checks that it succeeds, and returns its output. */
async function succeed(
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { exitCode, stdout, stderr } = await run(command, cwd, env);
  expect([command.join(" "), exitCode, exitCode === 0 ? "" : stdout + stderr]).toEqual([
    command.join(" "),
    0,
    "",
  ]);
  return stdout;
}
