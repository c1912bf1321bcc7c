/**
 * The demonstration of several machines with fewer flows: real processes in network namespaces, and
 * load balancers of nftables.
 */

import { expect, test } from "bun:test";
import { reasonToSkip } from "../../examples/scale/machines/network.ts";
import { runMachines } from "../../examples/scale/machines/run.ts";

const TIMEOUT_MS = 120_000;
const reason = reasonToSkip();
if (reason !== undefined) console.log(`tests with several machines are skipped: ${reason}`);

test.skipIf(reason !== undefined)(
  "flows keep their host while hosts, load balancers and addresses change",
  async () => {
    const { passed, failed, skipped } = await runMachines({ quic: 20, tunnel: 24 });
    expect(failed).toBe(0);
    expect(passed).toBe(skipped.length === 0 ? 10 : 9);
  },
  TIMEOUT_MS,
);

test.skipIf(process.getuid?.() === 0)("without root nothing is tried", async () => {
  const { passed, failed, skipped } = await runMachines();
  expect([passed, failed, skipped.length]).toEqual([0, 0, 1]);
});
