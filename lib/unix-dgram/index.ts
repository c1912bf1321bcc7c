/** The interface of the npm package `unix-dgram`, version 2: the public API. */

export { createSocket, type MessageInfo, Socket, type UnixDgramError } from "./socket.ts";
