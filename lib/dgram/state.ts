/** The state of a socket, which is a property as in Node: `Socket` is a function, not a class. */

import type { BlockList } from "node:net";
import { STATE } from "./builtin.ts";
import { notRunning } from "./errors.ts";
import type { UdpHandle } from "./handle.ts";

export const UNBOUND = 0;
export const BINDING = 1;
export const BOUND = 2;

export const DISCONNECTED = 0;
export const CONNECTING = 1;
export const CONNECTED = 2;

/** The state of a socket. */
export interface State {
  /** `null` after `close`. */
  handle: UdpHandle | null;
  receiving: boolean;
  bindState: typeof UNBOUND | typeof BINDING | typeof BOUND;
  connectState: typeof DISCONNECTED | typeof CONNECTING | typeof CONNECTED;
  /** The calls that wait until the socket is bound. */
  queue: (() => void)[] | undefined;
  readonly reuseAddr: boolean | undefined;
  readonly reusePort: boolean | undefined;
  readonly ipv6Only: boolean | undefined;
  readonly recvBufferSize: number | undefined;
  readonly sendBufferSize: number | undefined;
  readonly receiveBlockList: BlockList | undefined;
  readonly sendBlockList: BlockList | undefined;
}

/** Returns the state of a socket. */
export function stateOf(socket: object): State {
  return (socket as { [STATE]: State })[STATE];
}

/** Gives a socket its state. */
export function setState(socket: object, state: State): void {
  // Enumerable, as in Node.
  (socket as { [STATE]: State })[STATE] = state;
}

/** Returns the handle of an open socket. @throws Error after `close`. */
export function openHandle(socket: object): UdpHandle {
  const { handle } = stateOf(socket);
  if (handle === null) throw notRunning();
  return handle;
}
