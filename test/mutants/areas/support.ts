/** Mistakes in lib/support/. */

import type { Mutant } from "../mutant.ts";

const ERRORS = {
  file: "lib/support/errors.ts",
  tests: ["test/support/errors.test.ts"],
};
const LACKS = {
  file: "lib/support/native.ts",
  tests: ["test/support/lacks.test.ts"],
};
const COPIES = { file: "lib/support/thread-state.ts", tests: ["test/sockets/two-copies.test.ts"] };
const COPIED_ERRORS = { file: "lib/support/errors.ts", tests: ["test/sockets/two-copies.test.ts"] };
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
  {
    ...COPIES,
    name: "copies of one version have classes of their own",
    find: 'if (typeof state[name] === "function") return true;',
    replace: 'if (typeof state[name] === "string") return true;',
  },
  {
    ...COPIES,
    name: "copies of one version have reactors of their own",
    find: "return found === undefined ? define(name, create())",
    replace: "return found !== null ? define(name, create())",
  },
  {
    ...COPIES,
    name: "copies of different versions share classes",
    find: "Symbol.for(`datagram-socket.${ABI_VERSION}`)",
    replace: 'Symbol.for("datagram-socket.state")',
  },
  {
    ...COPIES,
    name: "copies use any object as their state",
    find: "Object.getPrototypeOf(found) === null ?",
    replace: "Object.getPrototypeOf(found) !== undefined ?",
  },
  {
    ...COPIED_ERRORS,
    name: "errors of other copies are instances of every subclass",
    find: "return this === SocketError && isBranded(error);",
    replace: "return isBranded(error);",
  },
  {
    ...COPIED_ERRORS,
    name: "errors of other copies are not recognized",
    find: "return this === SocketError && isBranded(error);",
    replace: "return false;",
  },
  {
    ...COPIED_ERRORS,
    name: "copies: any object with the mark is an error",
    find: "!Error.isError(value) || Object.hasOwn(value, BRAND)",
    replace: 'value === null || typeof value !== "object"',
  },
];
