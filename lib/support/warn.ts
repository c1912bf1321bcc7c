/** How the library says that it goes on by other means than the best: once a thread each. */

/** Emits a process warning, which Bun prints unless it is told not to. */
export function warn(message: string): void {
  process.emitWarning(message, { type: "DatagramSocketWarning", code: "DATAGRAM_SOCKET_FALLBACK" });
}
