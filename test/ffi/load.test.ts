/** Loading the shim: from source, bundled, compiled, in Workers, on machines that have little. */

import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loadShim } from "../../ffi/load.ts";
import { loadNative } from "../../ffi/native.ts";
import { missing, output, ROOT, run, temporaryDirectory, testIf } from "./tools.ts";

const BUN = process.execPath;
const CHILD = join(ROOT, "test/ffi/children/load.ts");

/** What children/load.ts prints. */
interface Loaded {
  readonly reason: string | null;
  readonly mode: string | null;
  readonly backend: string;
  readonly echoed: number;
  readonly hasHeaders: boolean;
}

function parse(out: string): Loaded {
  return JSON.parse(out.trim().split("\n").at(-1) as string);
}

/** Copies what the library is made of, and the child, to `target`. */
function copyLibrary(target: string): void {
  for (const part of ["lib", "ffi", "c", "test/ffi/children", "package.json"]) {
    cpSync(join(ROOT, part), join(target, part), { recursive: true });
  }
}

describe("loading from source", () => {
  test("the shim loads, once a thread", () => {
    const loaded = loadShim();
    if ("reason" in loaded) throw new Error(loaded.reason);
    expect(loadShim()).toBe(loaded);
    expect(loadNative()).toBe(loadNative());
  });

  test("a child process gets the shim and an echo", () => {
    expect(parse(output([BUN, CHILD]))).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
    });
  });

  test("several Workers at once each load it", async () => {
    const workers = Array.from({ length: 4 }, () => {
      return new Worker(new URL("children/worker-load.ts", import.meta.url));
    });
    const answers = await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.onmessage = (event) => resolve(event.data);
            worker.onerror = (event) => reject(new Error(event.message));
          }),
      ),
    );
    for (const worker of workers) worker.terminate();
    expect(answers.map((answer) => typeof answer)).toEqual(workers.map(() => "number"));
    for (const fd of answers) expect(fd as number).toBeGreaterThan(2);
  });
});

describe("where loading fails", () => {
  test("without the C compiler there is a reason and the portable backend", () => {
    const { code, out, err } = run([BUN, "--no-ffi-cc", CHILD]);
    expect(code).toBe(0);
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toContain("ERR_FFI_CC_DISABLED");
    expect(err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length).toBe(1);
  });

  test("a shim of another ABI version gives a reason with both versions", () => {
    const { out, err } = loadChanged((source) =>
      source.replace(/#define SHIM_ABI \d+/, "#define SHIM_ABI 987"),
    );
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toMatch(/shim ABI expected \d+, got 987/);
    expect(err).toContain("987");
  });

  test("a shim with an entry less gives a reason that names it", () => {
    const { out } = loadChanged((source) => source.replace("    (void *)poller_wait,\n", ""));
    expect(parse(out)).toMatchObject({ mode: null, backend: "portable", echoed: 5 });
    expect(parse(out).reason).toContain("poller_wait");
  });

  test("C that does not compile gives the compiler's words", () => {
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

describe("on a machine without C", () => {
  const reason =
    missing("unshare", "chroot", "ldd", "mount") ??
    (run(["unshare", "-m", "true"]).code === 0 ? undefined : "unshare -m is not permitted");
  const testWhere = testIf(reason);

  /** Bun, its shared libraries and the library: no headers, no compiler, no `libc.so`. */
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

  function runBare(...command: string[]): Loaded {
    const root = bareRoot();
    const inside = `mount -t proc proc "$0/proc" && exec chroot "$0" "$@"`;
    return parse(
      output(["unshare", "-m", "--propagation", "private", "sh", "-c", inside, root, ...command]),
    );
  }

  testWhere("no headers, no gcc and no libc.so are needed", () => {
    const loaded = runBare("/bun", "/app/test/ffi/children/load.ts");
    expect(loaded).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
      hasHeaders: false,
    });
  });

  testWhere("a temporary directory with a space in its name does", () => {
    const loaded = runBare(
      "/bun",
      "--eval",
      'process.env.TMPDIR = "/tmp/with space"; await import("/app/test/ffi/children/load.ts")',
    );
    expect(loaded).toMatchObject({ reason: null, backend: "native", hasHeaders: false });
  });

  testWhere("a program made by bun build --compile needs no more", () => {
    const root = bareRoot();
    output([BUN, "build", "--compile", CHILD, "--outfile", join(root, "program")]);
    expect(runBare("/program")).toMatchObject({
      reason: null,
      backend: "native",
      hasHeaders: false,
    });
  });
});

describe("bundled", () => {
  test("bun build keeps the shim beside the bundle", () => {
    using directory = temporaryDirectory();
    output([BUN, "build", CHILD, "--target", "bun", "--outdir", join(directory.path, "out")]);
    const loaded = parse(output([BUN, "out/load.js"], { cwd: directory.path }));
    expect(loaded).toMatchObject({ reason: null, backend: "native", echoed: 5 });
  });

  test("bun build --compile makes a program that needs no checkout and leaves no files", () => {
    using directory = temporaryDirectory();
    const program = join(directory.path, "program");
    output([BUN, "build", "--compile", CHILD, "--outfile", program]);
    const temporary = join(directory.path, "tmp");
    mkdirSync(temporary);
    const options = { cwd: "/", env: { TMPDIR: temporary } };
    expect(parse(output([program], options))).toMatchObject({
      reason: null,
      backend: "native",
      echoed: 5,
    });
    const left = [...new Bun.Glob("datagram-socket-*").scanSync({ cwd: temporary, dot: true })];
    expect(left).toEqual([]);
  });

  test("a symbolic link to the package loads it as well", () => {
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
