/**
 * The interface of `node:dgram` on the engines of this library. Import it instead of `node:dgram`, or
 * let `datagram-socket/dgram/register` put it in its place.
 *
 * @module
 */

import { EventEmitter } from "node:events";
import { sharedValue } from "../support/thread-state.ts";
import { _createSocketHandle, addDeprecated } from "./deprecated.ts";
import { DgramSocket, initialize } from "./socket.ts";

export type { BindOptions, RemoteInfo, SocketOptions, SocketType } from "node:dgram";

type NodeDgram = typeof import("node:dgram");

addDeprecated();

/** Functions with the names that Node has for them. */
const functions = {
  // A function, so that `Socket.call(this, type)` works in classes without `extends`.
  Socket: function Socket(this: unknown, type: unknown, listener: unknown): unknown {
    if (new.target !== undefined) {
      return Reflect.construct(DgramSocket, [type, listener], new.target);
    }
    EventEmitter.call(this as EventEmitter);
    initialize(this as DgramSocket, type, listener);
    return undefined;
  },
  // A function too: `new createSocket(type)` works.
  createSocket: function createSocket(type: unknown, listener: unknown): unknown {
    return Reflect.construct(DgramSocket, [type, listener], functions.Socket);
  },
};
functions.Socket.prototype = DgramSocket.prototype;
Object.setPrototypeOf(functions.Socket, EventEmitter);
Object.defineProperty(DgramSocket.prototype, "constructor", {
  value: functions.Socket,
  writable: true,
  configurable: true,
});

/** Those of the first copy of the library, so that `instanceof` works with all. */
const shared = sharedValue("dgram", () => functions);

/** As `dgram.Socket` of Node: <https://nodejs.org/api/dgram.html#class-dgramsocket>. */
export const Socket: NodeDgram["Socket"] = shared.Socket as never;
/** The type of sockets: that of Node. */
export type Socket = import("node:dgram").Socket;

/**
 * As `dgram.createSocket` of Node: <https://nodejs.org/api/dgram.html#dgramcreatesocketoptions-callback>.
 *
 * @example
 * ```ts
 * const socket = createSocket("udp4", (message, { address, port }) => {
 *   socket.send(message, port, address);
 * });
 * socket.bind(7);
 * ```
 */
export const createSocket: NodeDgram["createSocket"] = shared.createSocket as never;

/** The module as `import dgram from "node:dgram"` returns it. */
const dgram: NodeDgram = { _createSocketHandle, createSocket, Socket } as never;
export default dgram;
