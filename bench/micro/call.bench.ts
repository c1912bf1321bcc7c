/**
 * The cost of a call into the shim, compared with calls of Bun's own native functions. All make a
 * system call that does very little, so the difference is the cost of calling native code.
 */

import { fstatSync } from "node:fs";
import { isNonblocking, WouldBlock } from "../../lib/index.ts";
import { type Comparison, keep } from "./comparison.ts";
import { connectedPair } from "./loopback.ts";

const { receiver } = await connectedPair();
const fd = receiver.asRawIo() as number;
const target = new Uint8Array(new ArrayBuffer(64));

export const comparisons: readonly Comparison[] = [
  {
    scenario: "a call into C",
    parameters: {},
    variants: [
      {
        name: "isNonblocking: the shim's fcntl(2)",
        run() {
          keep(isNonblocking(fd));
          return true;
        },
      },
      {
        name: "tryRecv of an empty socket: the shim's recvmmsg(2)",
        run: () => receiver.tryRecv(target) === WouldBlock,
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
