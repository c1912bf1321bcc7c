/**
 * Bun's own `node:dgram`, as it was before `register` replaced it. This module must be evaluated
 * before.
 */

const builtin: typeof import("node:dgram") = process.getBuiltinModule("node:dgram");

/** Bun's `createSocket`. */
export const builtinCreateSocket: typeof builtin.createSocket = builtin.createSocket;

/**
 * The symbol of the state of a socket: that of Bun's own sockets, by which Node's tests find it.
 */
export const STATE: unique symbol = findStateSymbol() as never;

function findStateSymbol(): symbol {
  // Has no descriptor until it is bound.
  const socket = builtin.createSocket("udp4");
  const symbols = Object.getOwnPropertySymbols(socket);
  return symbols.find(({ description }) => description === "state symbol") ?? Symbol("state");
}
