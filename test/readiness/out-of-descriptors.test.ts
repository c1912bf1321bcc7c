/** Waiting for readiness when the process has reached its limit of open descriptors. */

import { expect } from "bun:test";
import { join } from "node:path";
import { missing, testIf } from "../ffi/tools.ts";
import { CHILD_TIMEOUT_MS, endedWell, runCommand } from "../tools/sockets.ts";

const SCRIPT = join(import.meta.dir, "../children/out-of-descriptors.ts");

testIf(missing("sh")).each(["loop", "thread"])(
  "with no descriptor left, a send that waits does not stop a waiting receive (mode %s)",
  async (mode) => {
    const command = ["sh", "-c", 'ulimit -n 128; exec "$@"', "sh", process.execPath, SCRIPT];
    const child = await runCommand(command, { DATAGRAM_SOCKET_READINESS: mode });
    expect(JSON.parse(endedWell(child))).toEqual({ receivedAtLimit: 1, sent: 100, received: 2 });
  },
  CHILD_TIMEOUT_MS,
);
