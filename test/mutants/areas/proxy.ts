/** Mistakes in the flow proxy. Those that only a network shows are in test/sim/mutants.ts. */

import type { Mutant } from "../mutant.ts";

const tests = ["forwarding", "flow-table", "endpoints"]
  .map((name) => `test/flow-proxy/${name}.test.ts`)
  .concat("test/fuzz/fuzz.test.ts");

export const mutants: readonly Mutant[] = [
  {
    name: "a flood of new clients evicts flows in use",
    file: "examples/flow-proxy/flow-table.ts",
    find: "if (oldest === undefined || nowMs - oldest.lastUsedMs < this.#evictableAfterMs) {",
    replace: "if (oldest === undefined) {",
    tests,
  },
  {
    name: "malformed datagrams are not counted",
    file: "examples/flow-proxy/egress.ts",
    find: "          drops.malformed++;\n",
    replace: "",
    tests,
  },
  {
    name: "refused datagrams are not counted",
    file: "examples/flow-proxy/egress.ts",
    find: "          drops.refused++;\n",
    replace: "",
    tests,
  },
  {
    name: "datagrams that are too long are forwarded",
    file: "examples/flow-proxy/forwarder.ts",
    find: "if (batch.lengthAt(i) > datagramBytesMax) counters.drops.oversize++;\n      else",
    replace: "",
    tests,
  },
  {
    name: "a reply is sent to the latest client",
    file: "examples/flow-proxy/ingress.ts",
    find: "const flow = this.#flowsById.get(datagram.flowId);",
    replace: "const flow = [...this.#flowsById.values()].at(-1);",
    tests,
  },
];
