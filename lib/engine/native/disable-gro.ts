/**
 * Disables GRO on a descriptor that is handed over. Its next owner expects one datagram per
 * message, so no merged message may be left in the receive buffer.
 */

import type { Native } from "../../../ffi/native.ts";
import { RecvBatch } from "../../batch/recv-batch.ts";
import { IPPROTO_UDP, MSG_PEEK, SO_PEEK_OFF, SOL_SOCKET, UDP_GRO } from "../../linux/constants.ts";

/**
 * Disables GRO, and drops all queued messages up to the last merged one. Returns the number of
 * dropped datagrams. A message that arrives between the two steps may still be merged.
 */
export function disableGro(native: Native, fd: number): number {
  const batch = new RecvBatch();
  const source = { native, fd, hasControl: true };
  const receive = (messages: number, flags: number) => {
    const count = batch._receive(source, messages, flags);
    // The error of an earlier send is returned first, once; the datagrams follow.
    return count < 0 ? batch._receive(source, messages, flags) : count;
  };
  /** The number of datagrams that are not the first of their message. */
  let merged = 0;
  // SO_PEEK_OFF: each peek continues after the previous one (socket(7)).
  if (native.setIntOption(fd, SOL_SOCKET, SO_PEEK_OFF, 0) >= 0) {
    while (receive(batch.messagesMax, MSG_PEEK) > 0) merged += batch.length - batch.messages;
    native.setIntOption(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
  }
  let dropped = 0;
  while (merged > 0 && receive(1, 0) > 0) {
    dropped += batch.length;
    merged -= batch.length - batch.messages;
  }
  native.setIntOption(fd, IPPROTO_UDP, UDP_GRO, 0);
  return dropped;
}
