/**
 * The module for `require("datagram-socket")`. It also has the names of the npm package
 * `unix-dgram`, so that package.json can replace that package by this one.
 */

export * from "./index.ts";
export { createSocket, Socket } from "./unix-dgram/index.ts";
