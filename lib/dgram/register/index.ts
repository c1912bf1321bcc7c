/**
 * Replaces `node:dgram` for all modules that are loaded afterwards, with `import` and `require`. As
 * the first import of a program, or by `bun --preload datagram-socket/dgram/register`.
 */

import dgram from "../index.ts";

Object.assign(process.getBuiltinModule("node:dgram"), dgram);
