/** Mistakes in lib/linux/. */

import type { Mutant } from "../mutant.ts";

const CMSG = { file: "lib/linux/cmsg.ts", tests: ["test/linux/cmsg.test.ts"] };
const RECV = {
  file: "lib/linux/recv-cmsg.ts",
  tests: [
    "test/linux/cmsg.test.ts",
    "test/datagram/enable-metadata.test.ts",
    "test/linux/transport-errors.test.ts",
    "test/linux/dscp.test.ts",
  ],
};
const QUEUE = {
  file: "lib/linux/error-queue.ts",
  tests: ["test/linux/error-queue.test.ts", "test/linux/transport-errors.test.ts"],
};

export const mutants: readonly Mutant[] = [
  {
    ...CMSG,
    name: "a control message that exceeds the space is read",
    find: "if (length < HEADER_BYTES || words[at + 1] !== 0 || end > this.#end) return false;",
    replace: "if (length < HEADER_BYTES || words[at + 1] !== 0 || end < 0) return false;",
  },
  {
    ...CMSG,
    name: "the next control message is not aligned to 8 bytes",
    find: "    this.#next = at + 2 * Math.ceil(length / 8);",
    replace: "    this.#next = at + Math.ceil(length / 4);",
  },
  {
    ...CMSG,
    name: "the zone of a source address is not used as its interface",
    find: "this.#words[data + 4] = interfaceIndex || (source?.scopeId ?? 0);",
    replace: "this.#words[data + 4] = interfaceIndex;",
  },
  {
    ...RECV,
    name: "the reply source of a multicast datagram is the group",
    find: "(reader.word(0) & 0xff) === 0xff ? undefined : meta.destination",
    replace: "meta.destination",
  },
  {
    ...RECV,
    name: "a global address gets a zone",
    find: "if (((scratch[2] as number) & LINK_LOCAL_MASK) === LINK_LOCAL) scratch[6] = interfaceIndex;",
    replace: "scratch[6] = interfaceIndex;",
  },
  {
    ...RECV,
    name: "the DSCP includes the ECN bits",
    find: "meta.dscp = octet >> ECN_BITS;",
    replace: "meta.dscp = octet;",
  },
  {
    ...QUEUE,
    name: "an ICMP flood blocks the thread",
    find: "taken < ENTRIES_MAX; taken += ENTRIES_PER_CALL",
    replace: "taken >= 0 * ENTRIES_MAX; taken += ENTRIES_PER_CALL",
  },
  {
    ...QUEUE,
    name: "errors of local origin are reported as transport errors",
    find: "      if (entry === undefined || origin === undefined) continue;\n",
    replace: "      if (entry === undefined) continue;\n",
  },
  {
    ...QUEUE,
    name: "a handler is called after the close",
    find: "if (this.#fd === -1 || handler === undefined) return;",
    replace: "if (handler === undefined) return;",
  },
];
