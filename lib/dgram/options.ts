/** The options of a socket, and its state before it is bound. */

import type { BlockList } from "node:net";
import type { DriverEvents } from "./driver.ts";
import { UdpHandle } from "./handle.ts";
import { DISCONNECTED, type State, UNBOUND } from "./state.ts";
import { checkBlockList, checkUint32 } from "./validation.ts";

/** The options of `createSocket`, of unchecked types. */
export interface RawOptions {
  readonly type?: unknown;
  readonly lookup?: unknown;
  readonly reuseAddr?: boolean;
  readonly reusePort?: boolean;
  readonly ipv6Only?: boolean;
  readonly recvBufferSize?: unknown;
  readonly sendBufferSize?: unknown;
  readonly receiveBlockList?: unknown;
  readonly sendBlockList?: unknown;
  readonly signal?: unknown;
}

/**
 * Returns the state of a new socket.
 *
 * @throws TypeError or RangeError for invalid options.
 */
export function newState(options: RawOptions, events: DriverEvents): State {
  const { recvBufferSize, sendBufferSize, receiveBlockList, sendBlockList } = options;
  if (recvBufferSize) checkUint32("options.recvBufferSize", recvBufferSize);
  if (sendBufferSize) checkUint32("options.sendBufferSize", sendBufferSize);
  checkBlockList("options.receiveBlockList", receiveBlockList);
  checkBlockList("options.sendBlockList", sendBlockList);
  const { reuseAddr, reusePort, ipv6Only } = options;
  return {
    handle: new UdpHandle(options.type, options.lookup, events),
    receiving: false,
    bindState: UNBOUND,
    connectState: DISCONNECTED,
    queue: undefined,
    reuseAddr,
    reusePort,
    ipv6Only,
    recvBufferSize: recvBufferSize as number | undefined,
    sendBufferSize: sendBufferSize as number | undefined,
    receiveBlockList: receiveBlockList as BlockList | undefined,
    sendBlockList: sendBlockList as BlockList | undefined,
  };
}
