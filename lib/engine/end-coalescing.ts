/**
 * Makes a descriptor fit for another owner, who expects one datagram a message: the kernel is to
 * join none any more, and none that it joined may be left in the receive buffer, as it would be
 * received as one long datagram.
 */

import type { Native } from "../../ffi/native.ts";
import { RecvBatch } from "../batch/recv-batch.ts";
import { IPPROTO_UDP, SOL_SOCKET, UDP_GRO } from "../support/linux.ts";

/** <asm-generic/socket.h>: each peek looks behind what the last one saw. */
const SO_PEEK_OFF = 42;
/** <sys/socket.h>. */
const MSG_PEEK = 2;

/**
 * Switches receive offload off, and drops what waits up to the last message that was coalesced:
 * how many datagrams. What comes in between, a few microseconds, may still be coalesced.
 */
export function endCoalescing(native: Native, fd: number): number {
  const batch = new RecvBatch();
  const source = { native, fd, hasControl: true };
  const receive = (messages: number, flags: number) => {
    const count = batch._receive(source, messages, flags);
    // An error of a datagram sent earlier comes first, and once: what waits is behind it.
    return count < 0 ? batch._receive(source, messages, flags) : count;
  };
  /** Datagrams that are not the first of their message. */
  let coalesced = 0;
  if (native.setIntOption(fd, SOL_SOCKET, SO_PEEK_OFF, 0) >= 0) {
    while (receive(batch.messagesMax, MSG_PEEK) > 0) {
      coalesced += batch.length - batch.messages;
    }
    native.setIntOption(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
  }
  let dropped = 0;
  while (coalesced > 0 && receive(1, 0) > 0) {
    dropped += batch.length;
    coalesced -= batch.length - batch.messages;
  }
  native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 0);
  return dropped;
}
