/** If readiness mode "loop" does not work, the library uses mode "thread", with one warning. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { missing, ROOT, type Run, run, testIf } from "../ffi/tools.ts";

const CHILD = join(ROOT, "test/ffi/children/load.ts");
const PRELOAD = join(ROOT, "test/ffi/children/suppress-udp-handler.ts");

/** When to end a child that hangs. One that falls back takes the time of a failed probe. */
const TIMEOUT_MS = 15_000;

/** The user ID of the unprivileged user `nobody`. */
const NOBODY_UID = 65_534;

/** Runs the child with a folder of its `/proc/self` that is empty or that it may not read. */
function runHidden(folder: string, { isReadable }: { isReadable: boolean }): Run {
  const mount = `mount -t tmpfs -o mode=${isReadable ? "0755" : "0700"} none /proc/$$/${folder}`;
  const unprivileged = isReadable ? "" : `setpriv --reuid=${NOBODY_UID} --clear-groups`;
  const script = `${mount} && exec ${unprivileged} "$@"`;
  const command = ["unshare", "--mount", "sh", "-c", script, "sh", process.execPath, CHILD];
  return run(command, { env: DEFAULT_MODE, timeoutMs: TIMEOUT_MS });
}

/** Requests the default mode, even if this process has another one requested. */
const DEFAULT_MODE = { DATAGRAM_SOCKET_READINESS: "" };

/** Returns why parts of /proc cannot be hidden on this machine; `undefined` if they can. */
function reasonToSkip(): string | undefined {
  const absent = missing("unshare", "mount", "setpriv");
  if (absent !== undefined) return absent;
  if (process.getuid?.() !== 0) return "hiding parts of /proc needs root";
  const { code, err } = run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc/$$/fd"]);
  return code === 0 ? undefined : err.trim();
}

/** Checks that the child used mode "thread" and printed one warning with `reason`. */
function expectFallback({ code, out, err }: Run, reason: string): void {
  expect([code, err.match(/DATAGRAM_SOCKET_FALLBACK/g)?.length, err]).toEqual([0, 1, err]);
  expect(err).toContain("readiness uses a helper thread");
  expect(err).toContain(reason);
  const loaded = JSON.parse(out.trim());
  expect(loaded).toMatchObject({ reason: null, mode: "thread", backend: "native", echoed: 5 });
}

describe("readiness falls back to mode thread with one warning", () => {
  const testHidden = testIf(reasonToSkip());

  // All of /proc cannot be hidden: Bun does not start without /proc/self/maps.
  for (const folder of ["fd", "fdinfo"]) {
    testHidden(`if /proc/self/${folder} is empty`, () => {
      expectFallback(runHidden(folder, { isReadable: true }), "ENOENT");
    });

    testHidden(`if /proc/self/${folder} is not readable`, () => {
      expectFallback(runHidden(folder, { isReadable: false }), "ENOENT");
    });
  }

  for (const handler of ["error", "drain"]) {
    test(`if Bun never calls the ${handler} handler`, () => {
      const env = { ...DEFAULT_MODE, SUPPRESSED_HANDLER: handler };
      const command = [process.execPath, "--preload", PRELOAD, CHILD];
      expectFallback(run(command, { env, timeoutMs: TIMEOUT_MS }), "loop");
    });
  }
});

test("readiness uses mode thread without a warning if the environment requests it", () => {
  const env = { DATAGRAM_SOCKET_READINESS: "thread" };
  const { code, out, err } = run([process.execPath, CHILD], { env, timeoutMs: TIMEOUT_MS });
  expect([code, err]).toEqual([0, ""]);
  expect(JSON.parse(out.trim())).toMatchObject({ mode: "thread", backend: "native", echoed: 5 });
});

test("readiness uses mode loop without a warning by default", () => {
  const { code, out, err } = run([process.execPath, CHILD], {
    env: DEFAULT_MODE,
    timeoutMs: TIMEOUT_MS,
  });
  expect([code, err]).toEqual([0, ""]);
  expect(JSON.parse(out.trim())).toMatchObject({ mode: "loop", backend: "native", echoed: 5 });
});
