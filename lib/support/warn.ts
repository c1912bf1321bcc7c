/** Warnings about a fallback to a slower mechanism. Callers emit each once per thread. */

/** Emits a process warning, which Bun prints unless warnings are disabled. */
export function warn(message: string): void {
  process.emitWarning(message, { type: "DatagramSocketWarning", code: "DATAGRAM_SOCKET_FALLBACK" });
}
