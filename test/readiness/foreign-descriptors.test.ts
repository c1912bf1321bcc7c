/**
 * Workers that are terminated while they create their reactor, when Bun may or may not have adopted
 * the descriptor of the notifier: it is closed once, whatever its number refers to afterwards.
 */

import { describe, expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, endedWell, runScript } from "../tools/sockets.ts";

/** How long Workers are started and terminated. A longer run finds rarer faults. */
const DURATION_MS = Number(process.env.TEST_WORKERS_MS ?? 1500);

describe.each(["loop", "thread"])("readiness mode %s", (mode) => {
  test.each(["adopted", "random"])(
    "Workers that are terminated while they open their first socket (%s) close no descriptor of another thread, and leave none open",
    async (moment) => {
      const child = await runScript("foreign-descriptors.ts", {
        args: [moment, String(DURATION_MS)],
        env: { DATAGRAM_SOCKET_READINESS: mode },
      });
      const { workers, opened, lost, errors, left } = JSON.parse(endedWell(child));
      if (process.env.TEST_WORKERS_MS !== undefined) console.log(child.stdout);
      expect({ lost, errors, left }).toEqual({ lost: 0, errors: [], left: 0 });
      expect(workers).toBeGreaterThan(10);
      expect(opened).toBeGreaterThan(1000);
    },
    CHILD_TIMEOUT_MS + DURATION_MS,
  );
});
