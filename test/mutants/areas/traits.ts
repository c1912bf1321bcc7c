/** Mistakes in lib/traits/. */

import type { Mutant } from "../mutant.ts";

const RECV = {
  file: "lib/traits/recv.ts",
  tests: [
    "test/traits/recv.test.ts",
    "test/traits/recv-batch.test.ts",
    "test/sockets/batches.test.ts",
  ],
};

export const mutants: readonly Mutant[] = [
  {
    ...RECV,
    name: "an iteration yields truncated datagrams as whole ones",
    find: "    if (!keepTruncated) batch.skipTruncated();\n",
    replace: "    void keepTruncated;\n",
  },
  {
    ...RECV,
    name: "skipped datagrams are counted twice",
    find: "this.skipped += this.length - kept;",
    replace: "this.skipped += 2 * (this.length - kept);",
  },
  {
    ...RECV,
    name: "an iteration keeps a buffer whose memory the caller has taken",
    find: "if (buffer.capacity >= this.#capacity) buffer.reset(this.#headroom);",
    replace: "if (buffer.capacity >= 0) buffer.reset(this.#headroom);",
  },
  {
    ...RECV,
    name: "only the kept datagrams of a batch are emptied",
    find: "    batch.reset(received);\n",
    replace: "    batch.reset(Math.min(received, batch.length));\n",
  },
  {
    ...RECV,
    name: "a batch that ends with an error loses the error",
    find: "        if (i === 0) throw error;\n        this._deferRecvError(error);\n        return i;\n      }\n    }\n    return targets.length;",
    replace:
      "        if (i === 0) throw error;\n        return i;\n      }\n    }\n    return targets.length;",
  },
  {
    ...RECV,
    name: "a try takes a datagram from the callers that wait",
    find: "  tryRecv(buf: Target): number | WouldBlock {\n    if (this._recvQueue?.isBusy) return WouldBlock;\n",
    replace: "  tryRecv(buf: Target): number | WouldBlock {\n",
  },
];
