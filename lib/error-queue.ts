/**
 * The error queue of an IP socket (ip(7), IP_RECVERR): what ICMP said about datagrams sent.
 *
 * The kernel also turns each entry into the error of one later call, and drops that when it ends
 * a batch early. Reading the queue is how such an error is found again, and it must be read: while
 * an entry is in it, the socket polls as ready.
 */

import type { Native, ReceiveVector } from "../ffi/native.ts";

/** <linux/socket.h>. */
const MSG_ERRQUEUE = 0x2000;

/** Entries taken by one call. */
const BATCH = 8;
/** Entries taken at one time, so that a storm of ICMP does not hold the thread. */
const ENTRIES_MAX = 256;
/** Room for `struct sock_extended_err`, the offender's address and the two headers. */
const CONTROL_CAPACITY = 128;
const NAME_CAPACITY = 28;

/** `struct cmsghdr` and what follows it, in words of 32 bits: <linux/errqueue.h>. */
const ERRNO_WORD = 4;
const ORIGIN_WORD = 5;
const CMSG_BYTES_MIN = 32;
const SO_EE_ORIGIN_ICMP = 2;
const SO_EE_ORIGIN_ICMP6 = 3;

/** Reads error queues, of one socket after the other. */
export class ErrorQueueReader {
  readonly #vector: ReceiveVector;

  constructor(native: Native) {
    this.#vector = native.receiveVector(NAME_CAPACITY, CONTROL_CAPACITY);
    this.#vector.reserve(BATCH);
  }

  /** Empties the queue of `fd`: the errno of the last ICMP error in it, 0 if there was none. */
  drain(fd: number): number {
    const vector = this.#vector;
    let errno = 0;
    for (let taken = 0; taken < ENTRIES_MAX; taken += BATCH) {
      const count = vector.receive(fd, 0, BATCH, MSG_ERRQUEUE);
      for (let i = 0; i < count; i++) errno = this.#icmpErrno(i) || errno;
      if (count < BATCH) break;
    }
    return errno;
  }

  #icmpErrno(i: number): number {
    const { words } = this.#vector;
    if (this.#vector.controlLengthAt(i) < CMSG_BYTES_MIN) return 0;
    const index = this.#vector.controlIndex(i);
    const origin = (words[index + ORIGIN_WORD] as number) & 0xff;
    const isIcmp = origin === SO_EE_ORIGIN_ICMP || origin === SO_EE_ORIGIN_ICMP6;
    return isIcmp ? (words[index + ERRNO_WORD] as number) : 0;
  }
}
