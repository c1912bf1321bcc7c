/** Mistakes in lib/support/. */

import type { Mutant } from "../mutant.ts";

const ERRORS = {
  file: "lib/support/errors.ts",
  tests: ["test/support/errors.test.ts"],
};
const LACKS = {
  file: "lib/support/native.ts",
  tests: ["test/support/lacks.test.ts", "test/readiness/scarce-descriptors.test.ts"],
};
const ENV = { file: "lib/support/environment.ts", tests: ["test/support/environment.test.ts"] };

export const mutants: readonly Mutant[] = [
  {
    ...ERRORS,
    name: "EAGAIN is reported as EWOULDBLOCK",
    find: "Object.entries(constants.errno).reverse();",
    replace: "Object.entries(constants.errno);",
  },
  {
    ...ERRORS,
    name: "the path of a Unix socket is reported as an IP address",
    find: 'typeof address === "object" && address.family !== "unix"',
    replace: 'typeof address === "object"',
  },
  {
    ...ERRORS,
    name: "an ICMP error about an unreachable host ends an iteration",
    find: '  "EHOSTUNREACH",\n',
    replace: "",
  },
  {
    ...LACKS,
    name: "a lack of memory is remembered as a permanent failure",
    find: '  "ENOMEM",\n',
    replace: "",
  },
  {
    ...LACKS,
    name: "the errno of an error of Bun is negative",
    find: "? Math.abs(errno) : 0",
    replace: "? errno : 0",
  },
  {
    ...ENV,
    name: "an empty environment variable is invalid",
    find: '  if (value === "") return undefined;\n',
    replace: "",
  },
];
