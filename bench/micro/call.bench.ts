/**
 * What a call into the shim costs: one that asks the kernel next to nothing, beside calls that Bun
 * itself makes in the same way. Most of each is the system call, so the difference is the way there.
 */

import { fstatSync } from "node:fs";
import { isNonblocking, WouldBlock } from "../../lib/index.ts";
import { type Comparison, keep } from "./comparison.ts";
import { connectedPair } from "./loopback.ts";

const { receiver } = await connectedPair();
const fd = receiver.asRawIo() as number;
const nothingYet = new Uint8Array(new ArrayBuffer(64));

export const comparisons: readonly Comparison[] = [
  {
    scenario: "a call into C",
    parameters: {},
    ways: [
      {
        name: "isNonblocking: the shim's fcntl(2)",
        run() {
          keep(isNonblocking(fd));
          return true;
        },
      },
      {
        name: "tryRecv of an empty socket: the shim's recvmmsg(2)",
        run: () => receiver.tryRecv(nothingYet) === WouldBlock,
      },
      {
        name: "process.geteuid: Bun's geteuid(2)",
        run() {
          keep(process.geteuid?.());
          return true;
        },
      },
      {
        name: "fs.fstatSync: Bun's fstat(2)",
        run() {
          keep(fstatSync(fd));
          return true;
        },
      },
    ],
    expected: true,
  },
];
