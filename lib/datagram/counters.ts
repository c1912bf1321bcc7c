/** What a socket counts, in plain numbers that a send or receive adds to once a batch. */

/** A socket's counters since it was opened. All are totals; none is ever reset. */
export interface SocketCounters {
  /** Datagrams received into a buffer of the caller's. */
  datagramsReceived: number;
  /** Their bytes, as stored. */
  bytesReceived: number;
  /** Messages they came in: fewer than datagrams where receive offload coalesced some. */
  messagesReceived: number;
  /** System calls (portable backend: callbacks) that tried to receive. */
  receiveCalls: number;
  /** Datagrams that were longer than their buffer; the rest was lost. */
  datagramsTruncated: number;
  /**
   * Messages of which the kernel told more than there was room for (MSG_CTRUNC). Where that took
   * the stride away, what was coalesced came as one datagram.
   */
  controlTruncated: number;
  /** Receives that the system answered with an error. */
  receiveErrors: number;
  /** Receives that found nothing. */
  receiveWouldBlocks: number;
  /** Datagrams that came and could not be kept (portable backend: the queue was full). */
  datagramsDropped: number;
  /** Datagrams that the system took to send. */
  datagramsSent: number;
  /** Their bytes. */
  bytesSent: number;
  /** Messages they went in: fewer than datagrams where segmentation offload joined some. */
  messagesSent: number;
  /** Messages of several datagrams that were refused, whose datagrams were sent one by one. */
  segmentationRefusals: number;
  /** System calls (portable backend: calls of Bun's socket) that tried to send. */
  sendCalls: number;
  /** Sends that the system answered with an error. */
  sendErrors: number;
  /** Sends that found the socket full. */
  sendWouldBlocks: number;
}

/** All zero. */
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
    segmentationRefusals: 0,
    sendCalls: 0,
    sendErrors: 0,
    sendWouldBlocks: 0,
  };
}
