/**
 * Loading the shim: from source, from bundles and compiled programs, in Workers, on a system
 * without C headers, and where it fails.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isSupportedBun, loadShim } from "../../ffi/load.ts";
import { loadNative } from "../../ffi/native.ts";
import { SYMBOLS } from "../../ffi/symbols.ts";
import { missing, output, ROOT, run, temporaryDirectory, testIf } from "./tools.ts";

const BUN = process.execPath;
const CHILD = join(ROOT, "test/ffi/children/load.ts");

/** The line that children/load.ts prints. */
interface Loaded {
  readonly reason: string | null;
  readonly mode: string | null;
  readonly backend: string;
  readonly echoed: number;
  readonly hasHeaders: boolean;
}

/** Parses the last line of a child's output. */
function parse(out: string): Loaded {
  return JSON.parse(out.trim().split("\n").at(-1) as string);
}

/** Copies the library and the child scripts to `target`. */
function copyLibrary(target: string): void {
  for (const part of ["lib", "ffi", "c", "test/ffi/children", "package.json"]) {
    cpSync(join(ROOT, part), join(target, part), { recursive: true });
  }
}

describe("loading from source", () => {
  test("compiles the shim once per thread", () => {
    const loaded = loadShim();
    if ("reason" in loaded) throw new Error(loaded.reason);
    expect(loadShim()).toBe(loaded);
    expect(loadNative()).toBe(loadNative());
  });

  test("works in a child process, which receives a datagram", () => {
    expect(parse(output([BUN, CHILD]))).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
    });
  });

  test("works in four Workers at the same time", async () => {
    const workers = Array.from({ length: 4 }, () => {
      return new Worker(new URL("children/worker-load.ts", import.meta.url));
    });
    const results = await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.onmessage = (event) => resolve(event.data);
            worker.onerror = (event) => reject(new Error(event.message));
          }),
      ),
    );
    for (const worker of workers) worker.terminate();
    // A string is the reason of a failure.
    expect(results.map((result) => typeof result)).toEqual(workers.map(() => "number"));
    for (const fd of results) expect(fd as number).toBeGreaterThan(2);
  });
});

describe("when the shim cannot be loaded", () => {
  test("the portable backend is used, with one warning, if Bun's C compiler is disabled", () => {
    const { code, out, err } = run([BUN, "--no-ffi-cc", CHILD]);
    expect(code).toBe(0);
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toContain("ERR_FFI_CC_DISABLED");
    expect(err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length).toBe(1);
  });

  test("the portable backend is used, with one warning, if Bun is too old", () => {
    const preload = join(ROOT, "test/ffi/children/old-bun.ts");
    const { code, out, err } = run([BUN, "--preload", preload, CHILD]);
    expect(code).toBe(0);
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toBe("Bun 1.4.3 or later expected for the shim, got 1.4.2");
    expect(err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length).toBe(1);
    expect(err).toContain("got 1.4.2");
  });

  test.each([
    ["1.4.3", true],
    ["1.4.3-canary.20260101T140604", true],
    ["1.4.10", true],
    ["1.5.0", true],
    ["2.0.0", true],
    ["1.4.2", false],
    ["1.4.0", false],
    ["1.3.99", false],
    ["0.9.9", false],
    ["", false],
  ])("Bun %p is supported: %p", (version, expected) => {
    expect(isSupportedBun(version)).toBe(expected);
  });

  test("the reason has both ABI versions if that of the shim differs", () => {
    const { out, err } = loadChanged((source) =>
      source.replace(/#define SHIM_ABI \d+/, "#define SHIM_ABI 987"),
    );
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toMatch(/shim ABI expected \d+, got 987/);
    expect(err).toContain("987");
  });

  test("the reason names the entry that the shim lacks", () => {
    const last = Object.keys(SYMBOLS).at(-1) as string;
    const { out } = loadChanged((source) => source.replace(`    (void *)${last},\n`, ""));
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toContain(last);
  });

  test("the reason has the compiler's message if the shim does not compile", () => {
    const { out } = loadChanged((source) => `${source}\nint broken(void) { return undeclared; }\n`);
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toContain("undeclared");
  });

  /** Runs the child on a copy of the library whose C source is changed. */
  function loadChanged(change: (source: string) => string): { out: string; err: string } {
    using directory = temporaryDirectory();
    copyLibrary(directory.path);
    const path = join(directory.path, "c/shim.c");
    const source = readFileSync(path, "utf8");
    expect(change(source)).not.toBe(source);
    writeFileSync(path, change(source));
    const { code, out, err } = run([BUN, join(directory.path, "test/ffi/children/load.ts")]);
    expect(code).toBe(0);
    return { out, err };
  }
});

describe("on a system without C headers and compilers", () => {
  const reason =
    missing("unshare", "chroot", "ldd", "mount") ??
    (run(["unshare", "-m", "true"]).code === 0 ? undefined : "unshare -m is not permitted");
  const testInBareRoot = testIf(reason);

  /** A root directory with Bun, its shared libraries, and this library. */
  let directory: ReturnType<typeof temporaryDirectory> | undefined;
  afterAll(() => directory?.[Symbol.dispose]());

  function bareRoot(): string {
    if (directory !== undefined) return directory.path;
    directory = temporaryDirectory();
    const root = directory.path;
    cpSync(BUN, join(root, "bun"));
    for (const [library] of output(["ldd", BUN]).matchAll(/\/[^\s:]+(?=[:\s])/g)) {
      if (library === BUN) continue;
      mkdirSync(join(root, dirname(library)), { recursive: true });
      cpSync(library, join(root, library), { dereference: true });
    }
    for (const folder of ["proc", "tmp", "tmp/with space"]) mkdirSync(join(root, folder));
    copyLibrary(join(root, "app"));
    return root;
  }

  /** Runs a command in the bare root, after the shell commands of `mounts`. */
  function runBare(command: string[], mounts = "true"): Loaded {
    const root = bareRoot();
    const inside = `mount -t proc proc "$0/proc" && ${mounts} && exec chroot "$0" "$@"`;
    return parse(
      output(["unshare", "-m", "--propagation", "private", "sh", "-c", inside, root, ...command]),
    );
  }

  testInBareRoot("the shim loads without headers, gcc and libc.so", () => {
    const loaded = runBare(["/bun", "/app/test/ffi/children/load.ts"]);
    expect(loaded).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
      hasHeaders: false,
    });
  });

  testInBareRoot("the shim loads from a read-only file system", () => {
    const readOnly = `mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && \
      mount -o remount,bind,ro "$0" && ! touch "$0/tmp/x" 2>/dev/null`;
    const loaded = runBare(["/bun", "/app/test/ffi/children/load.ts"], readOnly);
    expect(loaded).toMatchObject({ reason: null, backend: "native", echoed: 5 });
  });

  testInBareRoot("the shim loads from a temporary directory if /proc/self/fd is hidden", () => {
    const hidden = `mount -t tmpfs none "$0/proc/$$/fd"`;
    const environment = 'process.env.TMPDIR = "/tmp/with space"';
    const script = `${environment}; await import("/app/test/ffi/children/load.ts")`;
    const loaded = runBare(["/bun", "--eval", script], hidden);
    expect(loaded).toMatchObject({ reason: null, mode: "thread", backend: "native", echoed: 5 });
    expect(readdirSync(join(bareRoot(), "tmp/with space"))).toEqual([]);
  });

  testInBareRoot("the reason says what to change if neither is possible", () => {
    const neither = `mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && \
      mount -t tmpfs none "$0/proc/$$/fd" && mount -o remount,bind,ro "$0"`;
    const loaded = runBare(["/bun", "/app/test/ffi/children/load.ts"], neither);
    expect(loaded).toMatchObject({ backend: "portable", echoed: 5 });
    expect(loaded.reason).toContain("Mount /proc, or set TMPDIR to a writable directory");
  });

  testInBareRoot("a program made by bun build --compile loads the shim", () => {
    const root = bareRoot();
    output([BUN, "build", "--compile", CHILD, "--outfile", join(root, "program")]);
    expect(runBare(["/program"])).toMatchObject({
      reason: null,
      backend: "native",
      hasHeaders: false,
    });
  });
});

describe("a packaged library", () => {
  test("loads the shim from a bundle made by bun build", () => {
    using directory = temporaryDirectory();
    output([BUN, "build", CHILD, "--target", "bun", "--outdir", join(directory.path, "out")]);
    expect(readdirSync(join(directory.path, "out"))).toEqual(["load.js"]);
    const loaded = parse(output([BUN, "out/load.js"], { cwd: directory.path }));
    expect(loaded).toMatchObject({ reason: null, backend: "native", echoed: 5 });
  });

  test("loads the shim in a compiled program without a temporary directory", () => {
    using directory = temporaryDirectory();
    const program = join(directory.path, "program");
    output([BUN, "build", "--compile", CHILD, "--outfile", program]);
    const options = { cwd: "/", env: { TMPDIR: join(directory.path, "none") } };
    expect(parse(output([program], options))).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
    });
  });

  test("loads the shim if node_modules has a symbolic link to the package", () => {
    using directory = temporaryDirectory();
    mkdirSync(join(directory.path, "node_modules"));
    symlinkSync(ROOT, join(directory.path, "node_modules/datagram-socket"));
    const script = join(directory.path, "main.ts");
    writeFileSync(
      script,
      `import { UdpSocket } from "datagram-socket";
       const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
       console.log(socket.backend);
       socket.close();`,
    );
    expect(output([BUN, script], { cwd: directory.path }).trim()).toBe("native");
  });
});
