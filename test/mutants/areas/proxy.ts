/** Mistakes in the flow proxy. Those that only a network shows are in test/sim/mutants.ts. */

import type { Mutant } from "../mutant.ts";

const tests = ["forwarding", "flow-table", "endpoints", "floods", "hostile-input"]
  .map((name) => `test/flow-proxy/${name}.test.ts`)
  .concat("test/fuzz/fuzz.test.ts");

export const mutants: readonly Mutant[] = [
  {
    name: "a flood of new clients evicts flows in use",
    file: "examples/flow-proxy/flow-table.ts",
    find: "if (!this.#isIdle(idlest, nowMs)) return undefined;",
    replace: "",
    tests,
  },
  {
    name: "a host evicts flows of hosts that have fewer",
    file: "examples/flow-proxy/flow-table.ts",
    find: "if ((idlest.siblings as HostFlows).size > ownSize) return idlest;",
    replace: "return idlest;",
    tests,
  },
  {
    name: "a host keeps more than its share in use",
    file: "examples/flow-proxy/flow-table.ts",
    find: "size > this.#protectedSize && size > ownSize + 1",
    replace: "false",
    tests,
  },
  {
    name: "a host within its share loses flows in use",
    file: "examples/flow-proxy/flow-table.ts",
    find: "size > this.#protectedSize && size > ownSize + 1",
    replace: "size > ownSize + 1",
    tests,
  },
  {
    name: "hosts evict flows of each other without end",
    file: "examples/flow-proxy/flow-table.ts",
    find: "size > ownSize + 1",
    replace: "size >= ownSize",
    tests,
  },
  {
    name: "a flow that is used keeps its place among the flows of its host",
    file: "examples/flow-proxy/flow-table.ts",
    find: "    siblings.unlink(flow);\n    siblings.append(flow);\n",
    replace: "",
    tests,
  },
  {
    name: "the size of the largest host does not decrease",
    file: "examples/flow-proxy/host-flows.ts",
    find: "if (!this.#bySize.has(this.#sizeMax)) this.#sizeMax--;",
    replace: "",
    tests,
  },
  {
    name: "addresses of one IPv6 network are different hosts",
    file: "examples/flow-proxy/host-flows.ts",
    find: "groups.slice(0, HOST_GROUPS)",
    replace: "groups",
    tests,
  },
  {
    name: "IPv4-mapped addresses are one host",
    file: "examples/flow-proxy/host-flows.ts",
    find: 'if (address.startsWith(MAPPED_PREFIX) && address.includes(".")) {',
    replace: 'if (address === "") {',
    tests,
  },
  {
    name: "long replies to a client that is not verified are not limited",
    file: "examples/flow-proxy/reply-allowance.ts",
    find: "this.#datagrams < 1 || this.#bytes < bytes",
    replace: "this.#datagrams < 1",
    tests,
  },
  {
    name: "many replies to a client that is not verified are not limited",
    file: "examples/flow-proxy/reply-allowance.ts",
    find: "this.#datagrams < 1 || this.#bytes < bytes",
    replace: "this.#bytes < bytes",
    tests,
  },
  {
    name: "a client is never verified",
    file: "examples/flow-proxy/reply-allowance.ts",
    find: "this.#isVerified = this.#hasReply;",
    replace: "",
    tests,
  },
  {
    name: "the egress ignores the reply factor",
    file: "examples/flow-proxy/egress.ts",
    find: "options.replyFactor ?? REPLY_FACTOR",
    replace: "REPLY_FACTOR",
    tests,
  },
  {
    name: "the ingress ignores the reply factor",
    file: "examples/flow-proxy/ingress.ts",
    find: "options.replyFactor ?? REPLY_FACTOR",
    replace: "REPLY_FACTOR",
    tests,
  },
  {
    name: "the slot of a removed flow is not used again",
    file: "examples/flow-proxy/ingress.ts",
    find: "this.#nextIdsOfFreeSlots.pop() ?? this.#nextFlowId++",
    replace: "this.#nextFlowId++",
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
