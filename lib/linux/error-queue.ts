/**
 * The error queue of an IP socket (ip(7), IP_RECVERR): errors about datagrams that were sent
 * earlier, reported by ICMP. Entries of local origin are ignored: the call that sent the datagram
 * has returned the same error.
 *
 * The kernel also makes each entry the error of one later call, and discards that error if the
 * call transferred part of a batch; the queue still has the entry then. The queue must be drained:
 * the socket polls as ready (EPOLLERR) until it is empty.
 */

import type { Native, ReceiveVector } from "../../ffi/native.ts";
import { addressAt } from "../address/address-cache.ts";
import { SOCKADDR_IN6_BYTES } from "../address/sockaddr.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import { callWaker } from "../poll/poll.ts";
import { errnoCode } from "../support/errors.ts";
import { RECV_CONTROL_CAPACITY } from "./cmsg.ts";
import { EMSGSIZE, MSG_ERRQUEUE } from "./constants.ts";
import { type ExtendedError, readExtendedError } from "./recv-cmsg.ts";

/** The number of entries to read with one system call. */
const ENTRIES_PER_CALL = 8;
/** The maximum number of entries to read at a time, so that an ICMP flood cannot block the thread. */
const ENTRIES_MAX = 256;
/** The space in bytes for the quoted datagram of an entry: an Ethernet frame. */
const QUOTED_BYTES_MAX = 1500;

/** SO_EE_ORIGIN_* of <linux/errqueue.h>. */
const ORIGINS: ReadonlyMap<number, TransportError["origin"]> = new Map([
  [2, "icmp"],
  [3, "icmp6"],
]);

/**
 * Errors that the kernel derives from ICMP messages only, never from a check of its own: ENONET,
 * EPROTO, ENOPROTOOPT, EOPNOTSUPP, ECONNREFUSED and EHOSTDOWN (icmp_err_convert in
 * net/ipv4/icmp.c). A host or network that is unreachable, or a datagram that is too long, may be a
 * local decision.
 */
const ICMP_ONLY_ERRNOS: ReadonlySet<number> = new Set([64, 71, 92, 95, 111, 112]);

/**
 * Returns whether `errno` of a call on an IP socket was caused by an ICMP message. The queue may
 * have no entry for it: while the receive buffer is full, the kernel discards the entry.
 */
export function isIcmpErrno(errno: number): boolean {
  return ICMP_ONLY_ERRNOS.has(errno);
}

/** Handles transport errors, see `UdpSocket.onTransportError`. */
export type TransportErrorHandler = (error: TransportError) => void;

/** The entries that a drain has read. */
export interface DrainedErrors {
  /** The number of errors that ICMP reported. */
  readonly count: number;
  /** The errno of the last of them; 0 if there was none. */
  readonly errno: number;
}

const NONE: DrainedErrors = { count: 0, errno: 0 };

/** The error queue of one socket, and the handler that its entries are passed to. */
export class ErrorQueue {
  readonly #native: Native;
  #fd: number;
  #handler: TransportErrorHandler | undefined;

  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
  }

  /** Whether there is a handler. Without one, errors are returned by `drain` only. */
  get hasHandler(): boolean {
    return this.#handler !== undefined;
  }

  /** Sets the handler, or removes it. */
  setHandler(handler: TransportErrorHandler | undefined): void {
    this.#handler = handler;
  }

  /** Empties the queue and passes its entries to the handler. */
  drain(): DrainedErrors {
    const errors = this.#handler && ([] as TransportError[]);
    const drained = drainErrorQueue(this.#native, this.#fd, errors);
    // Not within the call that drains: the handler may use the socket, or close it.
    if (errors?.length) queueMicrotask(() => this.#deliver(errors));
    return drained;
  }

  #deliver(errors: readonly TransportError[]): void {
    for (const error of errors) {
      const handler = this.#handler;
      if (this.#fd === -1 || handler === undefined) return;
      callWaker(() => handler(error));
    }
  }

  /** Stops deliveries, and forgets the descriptor: its number may be reused by another file. */
  close(): void {
    this.#fd = -1;
  }
}

/** Shared by all sockets of the thread: a drain is synchronous. */
let queueVector: ReceiveVector | undefined;
const quoted: Uint8Array[] = [];

function makeVector(native: Native): ReceiveVector {
  const vector = native.receiveVector(SOCKADDR_IN6_BYTES, RECV_CONTROL_CAPACITY);
  vector.reserve(ENTRIES_PER_CALL);
  for (let i = 0; i < ENTRIES_PER_CALL; i++) {
    const buffer = new Uint8Array(new ArrayBuffer(QUOTED_BYTES_MAX));
    quoted[i] = buffer;
    vector.setView(i, buffer);
  }
  return vector;
}

/** Empties the error queue of `fd`, and appends its entries to `errors`. */
export function drainErrorQueue(
  native: Native,
  fd: number,
  errors?: TransportError[],
): DrainedErrors {
  queueVector ??= makeVector(native);
  const vector = queueVector;
  let count = 0;
  let errno = 0;
  for (let taken = 0; taken < ENTRIES_MAX; taken += ENTRIES_PER_CALL) {
    const received = vector.receive(fd, 0, ENTRIES_PER_CALL, MSG_ERRQUEUE);
    for (let i = 0; i < received; i++) {
      const bytes = vector.controlLengthAt(i);
      const entry = readExtendedError(vector.words, vector.controlIndex(i), bytes);
      const origin = entry && ORIGINS.get(entry.origin);
      if (entry === undefined || origin === undefined) continue;
      count++;
      errno = entry.errno;
      errors?.push(describe(vector, i, entry, origin));
    }
    if (received < ENTRIES_PER_CALL) break;
  }
  return count === 0 ? NONE : { count, errno };
}

function describe(
  vector: ReceiveVector,
  i: number,
  entry: ExtendedError,
  origin: TransportError["origin"],
): TransportError {
  const payload = (quoted[i] as Uint8Array).slice(0, vector.lengthAt(i));
  return {
    code: errnoCode(entry.errno),
    errno: entry.errno,
    origin,
    icmpType: entry.type,
    icmpCode: entry.code,
    mtu: entry.errno === EMSGSIZE ? entry.info : undefined,
    offender: entry.offender,
    destination: addressAt(vector, i),
    payload,
  };
}
