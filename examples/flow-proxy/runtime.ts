/**
 * What the endpoints of the proxy use of their surroundings: sockets, the clock and timers. Tests
 * replace it by a simulated network with virtual time.
 */

import { openSocket, type ProxySocket, type SocketOptions } from "./open-socket.ts";

export interface Runtime {
  /** Opens a UDP socket. @throws SocketError if the system refuses. */
  openSocket(options: SocketOptions): Promise<ProxySocket>;
  /** Returns the time of a monotonic clock in milliseconds. */
  nowMs(): number;
  /** Calls `callback` once, after `delayMs`. */
  callLater(callback: () => void, delayMs: number): void;
  /** Calls `callback` every `intervalMs`, until the function that it returns is called. */
  callRepeatedly(callback: () => void, intervalMs: number): () => void;
}

/** The operating system. */
export const systemRuntime: Runtime = {
  openSocket,
  nowMs: () => performance.now(),
  callLater: (callback, delayMs) => {
    setTimeout(callback, delayMs);
  },
  callRepeatedly: (callback, intervalMs) => {
    const timer = setInterval(callback, intervalMs);
    return () => clearInterval(timer);
  },
};
