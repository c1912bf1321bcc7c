/** The counters of a socket: plain numbers, updated once per batch. */

/** The counters of a socket since it was opened. All are totals and are never reset. */
export interface SocketCounters {
  /** Datagrams received into the caller's buffers. */
  datagramsReceived: number;
  /** The bytes of those datagrams that were stored. */
  bytesReceived: number;
  /** Messages received. Fewer than datagrams if GRO merged some. */
  messagesReceived: number;
  /** System calls that tried to receive (portable backend: callbacks). */
  receiveCalls: number;
  /** Datagrams that were longer than their buffer and lost their end. */
  datagramsTruncated: number;
  /**
   * Messages whose control messages did not all fit (MSG_CTRUNC). If the GRO stride was among the
   * lost ones, merged datagrams were returned as one. Of a Unix socket: datagrams with descriptors
   * that were not accepted, and that the system has closed.
   */
  controlTruncated: number;
  /** Receives that failed with an error. */
  receiveErrors: number;
  /** Receives that found no datagram. */
  receiveWouldBlocks: number;
  /**
   * Datagrams that were received and dropped: the queue of the portable backend was full, or they
   * had not been returned when the socket was closed.
   */
  datagramsDropped: number;
  /** Datagrams that the kernel accepted for sending. */
  datagramsSent: number;
  /** The bytes of those datagrams. */
  bytesSent: number;
  /** Messages sent. Fewer than datagrams if GSO combined some. */
  messagesSent: number;
  /** GSO messages that the kernel refused, and whose datagrams were then sent one by one. */
  gsoRefusals: number;
  /** Times that GSO was tried again for a destination after a refusal. */
  gsoRetries: number;
  /** System calls that tried to send (portable backend: calls of Bun's socket). */
  sendCalls: number;
  /**
   * Sends that failed with an error of the system, which includes ICMP errors that a send has thrown.
   * Invalid arguments and closed sockets are not counted.
   */
  sendErrors: number;
  /**
   * Errors about earlier datagrams that ICMP reported, whether they were thrown or passed to a
   * handler. An unconnected socket receives them only if it has a handler. Portable backend: those
   * that a send with `sendErrors: "drop"` has passed over.
   */
  transportErrors: number;
  /**
   * Datagrams that the system refused and that were dropped (`sendErrors: "drop"`). The socket's
   * `sendDropsByCode` has the numbers by error code.
   */
  sendDrops: number;
  /** Sends that found the socket full. */
  sendWouldBlocks: number;
}

/** Returns counters that are all zero. */
export function newCounters(): SocketCounters {
  return {
    datagramsReceived: 0,
    bytesReceived: 0,
    messagesReceived: 0,
    receiveCalls: 0,
    datagramsTruncated: 0,
    controlTruncated: 0,
    receiveErrors: 0,
    receiveWouldBlocks: 0,
    datagramsDropped: 0,
    datagramsSent: 0,
    bytesSent: 0,
    messagesSent: 0,
    gsoRefusals: 0,
    gsoRetries: 0,
    sendCalls: 0,
    sendErrors: 0,
    transportErrors: 0,
    sendDrops: 0,
    sendWouldBlocks: 0,
  };
}
