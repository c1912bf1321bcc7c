/**
 * The error queue of an IP socket (ip(7), IP_RECVERR): what ICMP said about datagrams sent.
 *
 * The kernel also turns each entry into the error of one later call, and drops that when it ends
 * a batch early. Reading the queue is how such an error is found again, and it must be read: while
 * an entry is in it, the socket polls as ready.
 */

import type { Native, ReceiveVector } from "../../ffi/native.ts";
import { addressAt, SOCKADDR_IN6_BYTES, type SocketAddress } from "../address/address.ts";
import { errnoCode } from "../support/errors.ts";
import { EMSGSIZE } from "../support/linux.ts";
import { type ExtendedError, RECV_CONTROL_CAPACITY, readExtendedError } from "./control.ts";

/** <linux/socket.h>. */
const MSG_ERRQUEUE = 0x2000;

/** Entries taken by one call. */
const BATCH = 8;
/** Entries taken at one time, so that a storm of ICMP does not hold the thread. */
const ENTRIES_MAX = 256;

/** <linux/errqueue.h>: who said it. */
const ORIGINS: ReadonlyMap<number, TransportError["origin"]> = new Map([
  [1, "local"],
  [2, "icmp"],
  [3, "icmp6"],
]);

/** What the network, or this host, said about a datagram that was sent before. */
export interface TransportError {
  /** The error's name, such as `"ECONNREFUSED"`, `"EHOSTUNREACH"` or `"EMSGSIZE"`. */
  readonly code: string;
  readonly errno: number;
  /** Who said it: a host by ICMP, or this host itself. */
  readonly origin: "icmp" | "icmp6" | "local";
  /** The ICMP message's type and code (RFC 792, RFC 4443); 0 for a local one. */
  readonly icmpType: number;
  readonly icmpCode: number;
  /** For `EMSGSIZE` the path's MTU in bytes, IP header and all. */
  readonly mtu: number | undefined;
  /** The host that reported it, with port 0. */
  readonly offender: SocketAddress | undefined;
  /** Where the datagram was going. */
  readonly destination: SocketAddress | undefined;
}

/** For all sockets of a thread, one after the other. */
let queueVector: ReceiveVector | undefined;

function makeVector(native: Native): ReceiveVector {
  const vector = native.receiveVector(SOCKADDR_IN6_BYTES, RECV_CONTROL_CAPACITY);
  vector.reserve(BATCH);
  return vector;
}

/**
 * Empties the error queue of `fd`, adding each entry to `errors`: the errno of the last that ICMP
 * reported, 0 if there was none.
 */
export function drainErrorQueue(native: Native, fd: number, errors?: TransportError[]): number {
  queueVector ??= makeVector(native);
  const vector = queueVector;
  let errno = 0;
  for (let taken = 0; taken < ENTRIES_MAX; taken += BATCH) {
    const count = vector.receive(fd, 0, BATCH, MSG_ERRQUEUE);
    for (let i = 0; i < count; i++) {
      const bytes = vector.controlLengthAt(i);
      const entry = readExtendedError(vector.words, vector.controlIndex(i), bytes);
      const origin = entry && ORIGINS.get(entry.origin);
      if (entry === undefined || origin === undefined) continue;
      if (origin !== "local") errno = entry.errno;
      errors?.push(describe(vector, i, entry, origin));
    }
    if (count < BATCH) break;
  }
  return errno;
}

function describe(
  vector: ReceiveVector,
  i: number,
  entry: ExtendedError,
  origin: TransportError["origin"],
): TransportError {
  return {
    code: errnoCode(entry.errno),
    errno: entry.errno,
    origin,
    icmpType: entry.type,
    icmpCode: entry.code,
    mtu: entry.errno === EMSGSIZE ? entry.info : undefined,
    offender: entry.offender,
    destination: addressAt(vector, i),
  };
}
