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

const STEERING = {
  file: "lib/linux/reuse-port-steering.ts",
  tests: ["test/linux/reuse-port-steering.test.ts"],
};

export const mutants: readonly Mutant[] = [
  {
    ...STEERING,
    name: "a datagram too short for the steering field reaches the first socket",
    find: "{ code: IF_AT_LEAST, operand: bytes, ifFalse: TO_HASH },",
    replace: "{ code: IF_AT_LEAST, operand: 0, ifFalse: TO_HASH },",
  },
  {
    ...STEERING,
    name: "a connection ID that ends before the steering field is read beyond its end",
    find: "{ code: IF_AT_LEAST, operand: idBytesMin, ifFalse: TO_HASH },",
    replace: "{ code: IF_AT_LEAST, operand: 0, ifFalse: TO_HASH },",
  },
  {
    ...STEERING,
    name: "masked steering bits are not moved to bit 0",
    find: "31 - Math.clz32(mask & -mask)",
    replace: "0 * Math.clz32(mask & -mask)",
  },
  {
    ...STEERING,
    name: "QUIC packets with a short header are steered as those with a long one",
    find: "const SHORT_ID_OFFSET = 1;",
    replace: "const SHORT_ID_OFFSET = 6;",
  },
  {
    ...STEERING,
    name: "removing steering that is not set fails",
    find: "if (error instanceof SocketError && error.errno === ENOENT) return;",
    replace: "if (error instanceof SocketError && error.errno === 0) return;",
  },
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
