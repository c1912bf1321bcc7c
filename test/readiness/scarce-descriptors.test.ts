/**
 * The first socket of a process that has hardly any descriptor left: the call fails, and a later
 * call succeeds as soon as there are enough.
 */

import { describe, expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { missing, temporaryDirectory, testIf } from "../ffi/tools.ts";
import { CHILD_TIMEOUT_MS, endedWell, runCommand } from "../tools/sockets.ts";

const SCRIPT = join(import.meta.dir, "../children/scarce-descriptors.ts");

/** The kinds of sockets in the child, and their backend. */
const KINDS: readonly (readonly [kind: string, backend: string | undefined])[] = [
  ["udp", "native"],
  ["udp with reusePort", "native"],
  ["udp, native", "native"],
  ["udp, portable", "portable"],
  ["unix", "native"],
  ["unix pair", "native"],
  ["AsyncFd", undefined],
  ["isNonblocking", undefined],
];

describe.each(["loop", "thread"])("readiness mode %s", (mode) => {
  testIf(missing("sh")).each(KINDS)(
    "opening the first socket (%s) fails with EMFILE until there are enough descriptors",
    async (kind, backend) => {
      using temporary = temporaryDirectory();
      const command = ["sh", "-c", 'ulimit -n 60; exec "$@"', "sh", process.execPath, SCRIPT, kind];
      const child = await runCommand(command, {
        DATAGRAM_SOCKET_READINESS: mode,
        TMPDIR: temporary.path,
      });
      const result = JSON.parse(endedWell(child));
      expect(result).toMatchObject({ warnings: [], ...(backend === undefined ? {} : { backend }) });
      expect(new Set(result.errors)).toEqual(new Set(["SocketError EMFILE"]));
      if (kind.startsWith("udp")) expect(result.received).toBe(3);
      // The latest attempt may have created the reactor, which stays.
      expect(result.left.slice(0, -1)).toEqual(result.left.slice(0, -1).map(() => 0));
      expect(readdirSync(temporary.path)).toEqual([]);
    },
    CHILD_TIMEOUT_MS,
  );
});
