/** Sockets and datagrams on loopback for microbenchmarks. */

import { type RecvBatch, UdpSocket, WouldBlock } from "../../lib/index.ts";

/** The length of a datagram. */
export const DATAGRAM_BYTES = 1200;

const HOSTNAME = "127.0.0.1";

/** Returns the payloads of a batch. */
export function makePayloads(datagrams: number): Uint8Array[] {
  return Array.from({ length: datagrams }, (_, i) =>
    new Uint8Array(new ArrayBuffer(DATAGRAM_BYTES)).fill(i),
  );
}

/** Returns a receiver, and a sender that is connected to it. */
export async function connectedPair(): Promise<{ receiver: UdpSocket; sender: UdpSocket }> {
  const receiver = await UdpSocket.bind({ hostname: HOSTNAME });
  const { port } = receiver.localAddr;
  return { receiver, sender: await UdpSocket.connect({ hostname: HOSTNAME, port }) };
}

/**
 * Returns the result of a `try*` call.
 *
 * @throws Error if the result is `WouldBlock`.
 */
export function checkDone(count: number | WouldBlock): number {
  if (count === WouldBlock) throw new Error("expected a number of datagrams, got WouldBlock");
  return count;
}

/**
 * Receives batches until the total is `datagrams`, calls `each` with every batch, and returns the
 * total. Does not wait: loopback delivers datagrams during the send call.
 */
export function drain(
  socket: UdpSocket,
  batch: RecvBatch,
  datagrams: number,
  each?: (batch: RecvBatch) => void,
): number {
  let count = 0;
  while (count < datagrams) {
    count += checkDone(socket.tryRecvBatch(batch));
    each?.(batch);
  }
  return count;
}
