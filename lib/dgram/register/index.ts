/**
 * Replaces `node:dgram` for all modules that are loaded afterwards, with `import` and `require`. For
 * `bun --preload datagram-socket/dgram/register`, or `await import(...)` before other modules. After a
 * static import, modules that are loaded with it keep Bun's for named and namespace imports: Bun
 * takes the exports of a built-in module when it links the program, before any module runs.
 */

import dgram from "../index.ts";

Object.assign(process.getBuiltinModule("node:dgram"), dgram);
