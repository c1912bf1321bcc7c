/** Mistakes in lib/datagram/. */

import type { Mutant } from "../mutant.ts";

const RANGES = {
  file: "lib/datagram/ranges.ts",
  tests: [
    "test/sockets/recv-range.test.ts",
    "test/sockets/argument-checks.test.ts",
    "test/traits/send.test.ts",
    "test/traits/recv.test.ts",
    "test/traits/recv-batch.test.ts",
  ],
};
const META = { file: "lib/datagram/send-meta.ts", tests: ["test/datagram/send-meta.test.ts"] };

export const mutants: readonly Mutant[] = [
  {
    ...RANGES,
    name: "a range may end after the array",
    find: 'checkInteger("count", count, 0, length - start);',
    replace: 'checkInteger("count", count, 0, length);',
  },
  {
    ...RANGES,
    name: "fewer destinations than datagrams are accepted",
    find: "if (!(to.length >= end)) throw tooFewDestinations(to.length, end);",
    replace: "",
  },
  {
    ...META,
    name: "invalid metadata leaves a copy that is half changed",
    find: '    if (ecn !== undefined) checkInteger("ecn", ecn, 0, 3);',
    replace: '    this.ecn = ecn;\n    if (ecn !== undefined) checkInteger("ecn", ecn, 0, 3);',
  },
  {
    ...META,
    name: "datagrams with different transmit times are segments of one message",
    find: "    a.interfaceIndex === b.interfaceIndex &&\n    a.transmitTimeNs === b.transmitTimeNs",
    replace: "    a.interfaceIndex === b.interfaceIndex",
  },
  {
    ...META,
    name: "equal sources that are different objects prevent one message",
    find: "    (a.source !== undefined && b.source !== undefined && a.source.equals(b.source));",
    replace: "    (a.source === undefined && b.source === undefined);",
  },
];
