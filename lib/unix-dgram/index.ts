/**
 * The interface of the npm package `unix-dgram`, version 2, on the sockets of this library:
 * {@link createSocket} returns a {@link Socket}.
 *
 * @module
 */

export { createSocket, type MessageInfo, Socket, type UnixDgramError } from "./socket.ts";
