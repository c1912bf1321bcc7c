/**
 * `recvmmsg` and `sendmmsg` on a descriptor that the caller owns, without a socket object. Linux
 * only. They never block, even if the descriptor is blocking.
 */

import { NAME_CAPACITY_MAX, type Native, type ReceiveVector } from "../../ffi/native.ts";
import { AF_INET6, AF_UNIX } from "../address/sockaddr.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { MessageBuilder } from "../batch/message-builder.ts";
import { fillPayloads } from "../batch/payloads.ts";
import { fillTargets, storeReceived } from "../batch/targets.ts";
import { newCounters } from "../datagram/counters.ts";
import type { Destinations } from "../datagram/destination.ts";
import type { Payload, Target } from "../datagram/payload.ts";
import { checkRecvRange, checkSend } from "../datagram/ranges.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { EAGAIN } from "../linux/constants.ts";
import { drainErrorQueue } from "../linux/error-queue.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import { WouldBlock } from "../poll/poll.ts";
import { checkInteger } from "../support/check.ts";
import { SocketError, unsupportedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { loadFunctions } from "../support/native.ts";

const O_NONBLOCK = 0o4000;

interface Vectors {
  readonly native: Native;
  readonly received: ReceiveVector;
  readonly sending: MessageBuilder;
}

/** The maximum number of deferred errors. All are discarded beyond that. */
const DEFERRED_MAX = 1024;

let vectors: Vectors | undefined;

/**
 * Receives the available datagrams into `bufs`, one per buffer, and returns their number, or
 * `WouldBlock` if there is none. Stores the metadata of datagram i in `meta[i]`, if present.
 *
 * Makes one system call per 1024 buffers. Returns 0 if there are no buffers.
 *
 * @throws SocketError if the system reports an error before the first datagram. An error after the
 * first is thrown by the next call on the descriptor.
 */
export function recvmmsg(
  fd: number,
  bufs: readonly Target[],
  meta?: readonly RecvMeta[],
): number | WouldBlock {
  const { native, received } = open("recvmmsg", fd);
  throwDeferred(native, fd, "recvmmsg");
  const count = checkRecvRange(bufs, undefined);
  const counters = newCounters();
  for (let done = 0; done < count; ) {
    const limit = Math.min(count - done, BATCH_COUNT_MAX);
    const slots = { slot: 0, start: done, count: limit };
    received.reserve(limit);
    fillTargets(received, bufs, slots);
    const result = received.receive(fd, 0, limit);
    received.release(limit);
    if (result < 0 && done === 0) return failed(-result, "recvmmsg");
    if (result < 0 && result !== -EAGAIN) defer(native, fd, "recvmmsg", -result);
    if (result <= 0) return done;
    slots.count = result;
    storeReceived(received, bufs, slots, { meta, counters, local: undefined });
    done += result;
    if (result < limit) return done;
  }
  return count;
}

/**
 * Sends `bufs` in order, and returns the number of datagrams sent, or `WouldBlock` if the socket is
 * full. `to` is one destination for all, one for each, or absent for a connected socket.
 *
 * @throws SocketError if the first datagram is refused. An error after the first is thrown by the
 * next call on the descriptor, once.
 */
export function sendmmsg(
  fd: number,
  bufs: readonly Payload[],
  to?: SocketAddress | readonly SocketAddress[],
): number | WouldBlock {
  const { native, sending } = open("sendmmsg", fd);
  const { end } = checkSend(bufs, { to });
  throwDeferred(native, fd, "sendmmsg");
  const socketFamily = native.name(fd) < 0 ? -1 : family(native);
  if (to !== undefined || end < 2 || socketFamily === AF_UNIX) {
    return sendAll(sending, fd, bufs, to, socketFamily === AF_INET6);
  }
  // The kernel discards the error that ends a batch early. If ICMP reported it, the error queue has
  // it. The queue is enabled for this call only.
  const options = new IpSocketOptions(native, fd, socketFamily === AF_INET6);
  const hadQueue = options.receivesErrors;
  if (!hadQueue) options.setReceiveErrors(true);
  try {
    const sent = sendAll(sending, fd, bufs, to, socketFamily === AF_INET6);
    if (sent !== WouldBlock && sent < end)
      defer(native, fd, "sendmmsg", drainErrorQueue(native, fd).errno);
    return sent;
  } finally {
    if (!hadQueue) options.setReceiveErrors(false);
  }
}

function sendAll(
  sending: MessageBuilder,
  fd: number,
  bufs: readonly Payload[],
  to: Destinations,
  isIPv6: boolean,
): number | WouldBlock {
  const end = bufs.length;
  for (let done = 0; done < end; ) {
    const limit = Math.min(end - done, BATCH_COUNT_MAX);
    // No GSO: the options of the descriptor are the responsibility of its owner.
    const rules = { isIPv6, isPeerIPv4: false, gsoLimits: undefined };
    fillPayloads(sending.begin(rules), bufs, { start: done, count: limit }, to);
    const result = sending.vector.send(fd, 0, limit);
    sending.vector.release(limit);
    if (result < 0) return done > 0 ? done : failed(-result, "sendmmsg");
    done += result;
    if (result < limit) return done;
  }
  return end;
}

/**
 * Returns whether a descriptor is non-blocking (O_NONBLOCK).
 *
 * @throws SocketError with code `EBADF` if it is not open.
 */
export function isNonblocking(fd: number): boolean {
  const { native } = open("fcntl", fd);
  const flags = native.flags(fd);
  if (flags < 0) throw new SocketError({ errno: -flags, syscall: "fcntl", address: `fd ${fd}` });
  return (flags & O_NONBLOCK) !== 0;
}

function open(what: string, fd: number): Vectors {
  checkInteger("fd", fd, 0, 2 ** 31 - 1);
  if (vectors === undefined) {
    const loaded = loadFunctions(what);
    if ("reason" in loaded) throw unsupportedError(what, loaded.reason);
    const { native } = loaded;
    vectors = {
      native,
      received: native.receiveVector(NAME_CAPACITY_MAX),
      sending: new MessageBuilder(native.sendVector(NAME_CAPACITY_MAX)),
    };
  }
  return vectors;
}

/** The errors after partial batches, by descriptor. */
const deferred = new Map<string, number>();

/** Identifies the socket of a descriptor, whose number may be reused before the next call. */
function identity(native: Native, fd: number, syscall: string): string {
  const own = native.name(fd);
  const ownWords = native.scratch.slice(0, (own + 3) >> 2).join();
  const peer = native.peerName(fd);
  return `${syscall} ${fd} ${ownWords} ${native.scratch.slice(0, (peer + 3) >> 2).join()}`;
}

function defer(native: Native, fd: number, syscall: string, errno: number): void {
  if (errno === 0) return;
  // The errors of descriptors that are never used again would accumulate.
  if (deferred.size >= DEFERRED_MAX) deferred.clear();
  deferred.set(identity(native, fd, syscall), errno);
}

function throwDeferred(native: Native, fd: number, syscall: string): void {
  if (deferred.size === 0) return;
  const key = identity(native, fd, syscall);
  const errno = deferred.get(key);
  if (errno === undefined) return;
  deferred.delete(key);
  throw new SocketError({ errno, syscall });
}

function failed(errno: number, syscall: string): WouldBlock {
  if (errno === EAGAIN) return WouldBlock;
  throw new SocketError({ errno, syscall });
}

function family(native: Native): number {
  return (native.scratch[0] as number) & 0xffff;
}
