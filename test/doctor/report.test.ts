/** The text of a report, and what is recommended for machines that these tests do not have. */

import { describe, expect, test } from "bun:test";
import { allMetadata } from "../../lib/doctor/metadata-probes.ts";
import { BUFFER_BYTES_WANTED, findRemedies, type Launch } from "../../lib/doctor/remedies.ts";
import { type BufferLimit, formatReport, type Report } from "../../lib/doctor/report.ts";

const YES = { works: true, detail: "seen" };
const LIMIT: BufferLimit = {
  defaultBytes: 212_992,
  requestMaxBytes: BUFFER_BYTES_WANTED,
  maxBytes: 2 * BUFFER_BYTES_WANTED,
};

/** The report of a machine that lacks nothing. */
const COMPLETE: Report = {
  version: "1.2.3",
  bun: { version: "1.4.5", required: ">=1.4.3", isSupported: true },
  kernel: { platform: "linux", release: "6.18.0", arch: "x64" },
  backend: { name: "native", reason: null },
  readiness: { mode: "loop", reason: null },
  proc: YES,
  families: { IPv4: YES, IPv6: YES, unix: YES },
  offload: { gso: YES, gro: YES },
  metadata: allMetadata(YES),
  buffers: { receive: LIMIT, send: LIMIT },
  loopback: {
    payloadBytes: 1200,
    datagramsPerSecond: 1_234_567,
    bitsPerSecond: 11_851_843_200,
    processorNanoseconds: 810,
    datagramsPerSystemCall: 64,
  },
  remedies: [],
};

const LAUNCH: Launch = { env: {}, execArgv: [] };

/** Returns the commands and container options for a machine that differs from the complete one. */
function linesFor(differences: Partial<Report>, launch: Partial<Launch> = {}): string[] {
  const remedies = findRemedies({ ...COMPLETE, ...differences }, { ...LAUNCH, ...launch });
  return remedies.flatMap(({ commands, containerOptions }) => [...commands, ...containerOptions]);
}

const portable = (reason: string) => ({ backend: { name: "portable", reason } }) as const;

describe("findRemedies", () => {
  test("returns nothing for a machine that lacks nothing", () => {
    expect(linesFor({})).toEqual([]);
  });

  test("buffer limits below what is wanted: a sysctl for each", () => {
    const low = { ...LIMIT, requestMaxBytes: BUFFER_BYTES_WANTED - 1 };
    expect(linesFor({ buffers: { receive: low, send: LIMIT } })).toEqual([
      `sysctl -w net.core.rmem_max=${BUFFER_BYTES_WANTED}`,
    ]);
    expect(linesFor({ buffers: { receive: LIMIT, send: low } })).toEqual([
      `sysctl -w net.core.wmem_max=${BUFFER_BYTES_WANTED}`,
    ]);
  });

  test("a Bun that is too old: an upgrade, on all systems", () => {
    const bun = { version: "1.4.2", required: ">=1.4.3", isSupported: false };
    for (const platform of ["linux", "darwin"]) {
      const kernel = { platform, release: "1", arch: "x64" };
      expect(linesFor({ bun, kernel })).toEqual(["bun upgrade"]);
    }
  });

  test("other systems than Linux: nothing, although much is missing", () => {
    const kernel = { platform: "darwin", release: "25.0", arch: "arm64" };
    const no = { works: false, detail: "requires the native backend" };
    const metadata = allMetadata(no);
    expect(linesFor({ kernel, ...portable("no shim for darwin"), metadata, proc: no })).toEqual([]);
  });

  test("--no-ffi-cc: the other options remain, and BUN_OPTIONS takes precedence", () => {
    const backend = portable("ERR_FFI_CC_DISABLED. To use the native backend, remove --no-ffi-cc");
    expect(linesFor(backend, { execArgv: ["--smol", "--no-ffi-cc"] })).toEqual([
      "bun --smol x datagram-socket doctor",
    ]);
    expect(linesFor(backend, { env: { BUN_OPTIONS: "--no-ffi-cc" } })).toEqual([
      "unset BUN_OPTIONS",
    ]);
  });

  test("neither /proc nor a writable directory: both, as commands and for containers", () => {
    const backend = portable("ENOENT. Mount /proc, or set TMPDIR to a writable directory");
    const proc = { works: false, detail: "ENOENT" };
    expect(linesFor({ ...backend, proc })).toEqual([
      "export TMPDIR=/dev/shm",
      "--tmpfs /tmp",
      "mount -t proc proc /proc",
    ]);
  });

  test("marks that are not received: a capability, unless nothing is received at all", () => {
    const no = { works: false, detail: "the kernel refuses the socket option" };
    const lines = ['setcap cap_net_admin+ep "$(command -v bun)"', "--cap-add NET_ADMIN"];
    expect(linesFor({ metadata: { ...COMPLETE.metadata, mark: no } })).toEqual(lines);
    expect(linesFor({ metadata: allMetadata(no) })).toEqual([]);
  });
});

describe("formatReport", () => {
  const lines = (report: Report) => formatReport(report, { colours: false }).split("\n");

  test("prints figures with their units, and that nothing is to be changed", () => {
    expect(lines(COMPLETE)).toContain(
      "receive buffer        212,992 bytes by default, at most 8,388,608 if 4,194,304 are requested",
    );
    expect(lines(COMPLETE)).toContain(
      "loopback              1,234,567 datagrams/s of 1,200 bytes, 11.9 Gbit/s, " +
        "810 ns of processor time each, 64 per system call",
    );
    expect(lines(COMPLETE)).toContain("Nothing to change.");
  });

  test("prints commands alone on a line, and options of containers with a comment", () => {
    const remedy = {
      problem: "no marks",
      commands: ["setcap x"],
      containerOptions: ["--cap-add x"],
    };
    expect(lines({ ...COMPLETE, remedies: [remedy] }).slice(-5)).toEqual([
      "To change:",
      "- no marks",
      "    setcap x",
      "    --cap-add x    # an option of docker run and podman run",
      "",
    ]);
  });

  test("with colours, has the same text between the escape sequences", () => {
    const coloured = formatReport(COMPLETE, { colours: true });
    expect(coloured).toContain("\x1b[32mnative\x1b[0m");
    expect(Bun.stripANSI(coloured)).toBe(formatReport(COMPLETE, { colours: false }));
  });

  test("marks the portable backend as bad on Linux only", () => {
    const backend = { name: "portable", reason: "no shim" } as const;
    const painted = (platform: string) =>
      formatReport(
        { ...COMPLETE, backend, kernel: { ...COMPLETE.kernel, platform } },
        { colours: true },
      );
    expect(painted("linux")).toContain("\x1b[31mportable\x1b[0m: no shim");
    expect(painted("darwin")).toContain("\x1b[32mportable\x1b[0m: no shim");
  });
});
