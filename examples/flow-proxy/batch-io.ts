/**
 * Receives and sends batches, in the poll style of the library: datagrams are sent from the memory
 * that they were received into, nothing is allocated per datagram, and a call that cannot proceed
 * stores a waker and returns.
 */

import {
  BATCH_COUNT_MAX,
  type DatagramSocketRecv,
  type DatagramSocketSend,
  isClosedError,
  Pending,
  type Poll,
  type RecvBatch,
  SendBatch,
  SocketError,
  type Waker,
} from "../../lib/index.ts";
import type { EndpointCounters } from "./counters.ts";
import type { Runtime } from "./runtime.ts";
import { FLOW_ID_BYTES_MAX } from "./tunnel-datagram.ts";

/**
 * The maximum number of consecutive errors in one receive. After that it pauses, so that a
 * persistent error does not occupy the thread.
 */
const RECEIVE_ERRORS_MAX = 16;
const RECEIVE_PAUSE_MS = 10;

/** A socket to receive batches from. */
export type BatchSource = Pick<DatagramSocketRecv, "pollRecvBatch">;
/** A socket to send batches with. */
export type BatchTarget = Pick<DatagramSocketSend, "pollSendBatch">;

/** Creates a batch of maximum size, for a socket that all flows share. */
export function newSendBatch(): SendBatch {
  return new SendBatch({ datagrams: BATCH_COUNT_MAX, prefixBytes: FLOW_ID_BYTES_MAX });
}

/**
 * Receives as `pollRecvBatch` does, but counts socket errors instead of throwing them, and tries
 * again: they are ICMP errors about datagrams sent earlier, and received datagrams may still be
 * queued. For a closed socket, returns `Pending` and never calls `waker`.
 */
export function receiveBatch(
  socket: BatchSource,
  waker: Waker,
  batch: RecvBatch,
  counters: EndpointCounters,
  runtime: Runtime,
): Poll<number> {
  for (let errors = 0; errors < RECEIVE_ERRORS_MAX; errors++) {
    try {
      return socket.pollRecvBatch(waker, batch);
    } catch (error) {
      if (isClosedError(error)) return Pending;
      if (!(error instanceof SocketError)) throw error;
      counters.socketErrors++;
    }
  }
  runtime.callLater(waker, RECEIVE_PAUSE_MS);
  return Pending;
}

/**
 * Sends the datagrams of a batch until it is empty or the socket is full. Returns whether the batch
 * is empty. If it is not, `waker` (unless it is `null`) is called when the socket has room.
 *
 * The sockets of the proxy drop and count datagrams that the system refuses (too long, no route,
 * rejected by a firewall), so only a closed socket throws. Its datagrams are dropped.
 */
export function flushBatch(
  socket: BatchTarget,
  waker: Waker | null,
  batch: SendBatch,
  counters: EndpointCounters,
): boolean {
  while (batch.length > 0) {
    try {
      if (socket.pollSendBatch(waker, batch) === Pending) return false;
    } catch (error) {
      if (!isClosedError(error)) throw error;
      counters.drops.closed += batch.length;
      batch.clear();
    }
  }
  return true;
}
