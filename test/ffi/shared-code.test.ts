/** The threads of a process share the compiled code of the shim. */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, endedWell, runScript } from "../tools/sockets.ts";

test(
  "a Worker that opens a socket leaves less than 40 KiB and no code behind",
  async () => {
    const child = await runScript("worker-memory.ts");
    const { kibPerWorker, mappingsPerWorker, address } = JSON.parse(endedWell(child));
    // 15 KiB in Bun 1.4.5, of which Bun alone leaves 2 KiB. Compiled code would be 190 KiB.
    expect(kibPerWorker).toBeLessThan(40);
    expect(mappingsPerWorker).toBeLessThan(0.1);
    expect(address).toStartWith("127.0.0.1:");
  },
  CHILD_TIMEOUT_MS,
);
