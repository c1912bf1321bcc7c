/** Where Bun's loop cannot be had for readiness, a helper thread is taken, with one warning. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { missing, ROOT, type Run, run, testIf } from "../ffi/tools.ts";

const CHILD = join(ROOT, "test/ffi/children/load.ts");
const PRELOAD = join(ROOT, "test/ffi/children/suppress-udp-handler.ts");

/** A child that hangs is ended; one that falls back has waited for the probe. */
const TIMEOUT_MS = 15_000;

/** Somebody who may do nothing that others may not: `nobody`. */
const NOBODY = 65_534;

/** Runs the child with nothing, or nothing that it may read, in a folder of its `/proc/self`. */
function runHidden(folder: string, { isReadable }: { isReadable: boolean }): Run {
  const mount = `mount -t tmpfs -o mode=${isReadable ? "0755" : "0700"} none /proc/$$/${folder}`;
  const asNobody = isReadable ? "" : `setpriv --reuid=${NOBODY} --clear-groups`;
  const script = `${mount} && exec ${asNobody} "$@"`;
  const command = ["unshare", "--mount", "sh", "-c", script, "sh", process.execPath, CHILD];
  return run(command, { env: NOT_ASKED, timeoutMs: TIMEOUT_MS });
}

/** For runs in which the whole suite asks for one way. */
const NOT_ASKED = { DATAGRAM_SOCKET_READINESS: "" };

/** Why parts of /proc cannot be hidden here. */
function reasonToSkip(): string | undefined {
  const absent = missing("unshare", "mount", "setpriv");
  if (absent !== undefined) return absent;
  if (process.getuid?.() !== 0) return "to hide /proc needs root";
  const { code, err } = run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc/$$/fd"]);
  return code === 0 ? undefined : err.trim();
}

function expectFallback({ code, out, err }: Run, reason: string): void {
  expect([code, err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length, err]).toEqual([0, 1, err]);
  expect(err).toContain("readiness uses a helper thread");
  expect(err).toContain(reason);
  const loaded = JSON.parse(out.trim());
  expect(loaded).toMatchObject({ reason: null, mode: "thread", backend: "native", echoed: 5 });
}

describe("where the loop cannot be found", () => {
  const testWhere = testIf(reasonToSkip());

  // All of /proc cannot be hidden: Bun does not start without /proc/self/maps.
  for (const folder of ["fd", "fdinfo"]) {
    testWhere(`as /proc/self/${folder} is empty, sockets work with one warning`, () => {
      expectFallback(runHidden(folder, { isReadable: true }), "ENOENT");
    });

    testWhere(`as /proc/self/${folder} may not be read, sockets work with one warning`, () => {
      expectFallback(runHidden(folder, { isReadable: false }), "ENOENT");
    });
  }
});

describe("where the loop tells nothing", () => {
  for (const handler of ["error", "drain"]) {
    test(`as ${handler} is never called, sockets work with one warning`, () => {
      const env = { ...NOT_ASKED, SUPPRESSED_HANDLER: handler };
      const command = [process.execPath, "--preload", PRELOAD, CHILD];
      expectFallback(run(command, { env, timeoutMs: TIMEOUT_MS }), "loop");
    });
  }
});

test("asked for the helper thread by the environment, nothing is warned of", () => {
  const env = { DATAGRAM_SOCKET_READINESS: "thread" };
  const { code, out, err } = run([process.execPath, CHILD], { env, timeoutMs: TIMEOUT_MS });
  expect([code, err]).toEqual([0, ""]);
  expect(JSON.parse(out.trim())).toMatchObject({ mode: "thread", backend: "native", echoed: 5 });
});

test("where nothing is asked for, it is the loop, and nothing is warned of", () => {
  const { code, out, err } = run([process.execPath, CHILD], {
    env: NOT_ASKED,
    timeoutMs: TIMEOUT_MS,
  });
  expect([code, err]).toEqual([0, ""]);
  expect(JSON.parse(out.trim())).toMatchObject({ mode: "loop", backend: "native", echoed: 5 });
});
