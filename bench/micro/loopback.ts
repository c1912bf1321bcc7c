/** Sockets on loopback for microbenchmarks, and a batch that has come. */

import { type RecvBatch, UdpSocket, WouldBlock } from "../../lib/index.ts";

/** Bytes a datagram. */
export const DATAGRAM_BYTES = 1200;

const HOSTNAME = "127.0.0.1";

/** As many payloads as a batch has. */
export function makePayloads(datagrams: number): Uint8Array[] {
  return Array.from({ length: datagrams }, (_, i) =>
    new Uint8Array(new ArrayBuffer(DATAGRAM_BYTES)).fill(i),
  );
}

/** A socket to receive with, and one that is connected to it. */
export async function connectedPair(): Promise<{ receiver: UdpSocket; sender: UdpSocket }> {
  const receiver = await UdpSocket.bind({ hostname: HOSTNAME });
  const { port } = receiver.localAddr;
  return { receiver, sender: await UdpSocket.connect({ hostname: HOSTNAME, port }) };
}

/** What a `try*` call did, which must not have been refused. */
export function done(count: number | WouldBlock): number {
  if (count === WouldBlock) throw new Error("expected datagrams to move, got WouldBlock");
  return count;
}

/**
 * Receives batch by batch until `datagrams` came, and hands each batch on: how many came. Loopback
 * delivers while it sends, so they are there.
 */
export function drain(
  socket: UdpSocket,
  batch: RecvBatch,
  datagrams: number,
  each?: (batch: RecvBatch) => void,
): number {
  let count = 0;
  while (count < datagrams) {
    count += done(socket.tryRecvBatch(batch));
    each?.(batch);
  }
  return count;
}
