/**
 * `recvmmsg` and `sendmmsg` on a descriptor of one's own, without a socket object: Linux only, and
 * never blocking, whatever the descriptor's flags say.
 */

import {
  loadNative,
  NAME_CAPACITY_MAX,
  type Native,
  type ReceiveVector,
} from "../../ffi/native.ts";
import { AF_INET6, AF_UNIX, type SocketAddress } from "../address/address.ts";
import { fillPayloads, fillTargets, storeReceived } from "../batch/batch.ts";
import { MessageBuilder } from "../batch/messages.ts";
import { newCounters } from "../datagram/counters.ts";
import type { Destinations } from "../datagram/destination.ts";
import { drainErrorQueue } from "../datagram/error-queue.ts";
import type { DatagramInfo, Payload, Target } from "../datagram/info.ts";
import { IpOptions } from "../engine/options.ts";
import { checkInteger } from "../support/check.ts";
import { SocketError, unsupportedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { EAGAIN } from "../support/linux.ts";
import { WouldBlock } from "../traits/poll.ts";
import { checkTargets } from "../traits/recv.ts";
import { checkBatch } from "../traits/send.ts";

const O_NONBLOCK = 0o4000;

interface Vectors {
  readonly native: Native;
  readonly received: ReceiveVector;
  readonly sending: MessageBuilder;
}

/** Errors kept for next calls; more of them than descriptors in trouble at a time. */
const DEFERRED_MAX = 1024;

let vectors: Vectors | undefined;

/**
 * Receives what is there into `bufs`, one datagram each, in order: how many, or `WouldBlock` when
 * there is none. No buffers: 0. `info[i]`, if given, is told of datagram i: sender, real length.
 *
 * Batches are as large as the caller gives: beyond 1024 with a system call for each 1024.
 *
 * @throws SocketError when the system reports an error before the first datagram; one behind it
 * is thrown by the next call.
 */
export function recvmmsg(
  fd: number,
  bufs: readonly Target[],
  info?: readonly DatagramInfo[],
): number | WouldBlock {
  const { native, received } = open("recvmmsg", fd);
  throwDeferred(native, fd, "recvmmsg");
  const count = checkTargets(bufs, undefined);
  const counters = newCounters();
  for (let done = 0; done < count; ) {
    const limit = Math.min(count - done, BATCH_COUNT_MAX);
    const run = { slot: 0, start: done, count: limit };
    received.reserve(limit);
    fillTargets(received, bufs, run);
    const result = received.receive(fd, 0, limit);
    received.release(limit);
    if (result < 0 && done === 0) return failed(-result, "recvmmsg");
    if (result < 0 && result !== -EAGAIN) defer(native, fd, "recvmmsg", -result);
    if (result <= 0) return done;
    run.count = result;
    storeReceived(received, bufs, run, { info, counters, local: undefined });
    done += result;
    if (result < limit) return done;
  }
  return count;
}

/**
 * Sends `bufs` in order: how many went, or `WouldBlock` when the socket is full. No buffers: 0.
 * `to` is one destination for all, one each, or absent for a connected socket.
 *
 * @throws SocketError when not even the first could be sent; an error behind it comes with the
 * next call, once.
 */
export function sendmmsg(
  fd: number,
  bufs: readonly Payload[],
  to?: SocketAddress | readonly SocketAddress[],
): number | WouldBlock {
  const { native, sending } = open("sendmmsg", fd);
  const { end } = checkBatch(bufs, { to });
  throwDeferred(native, fd, "sendmmsg");
  const socketFamily = native.name(fd) < 0 ? -1 : family(native);
  if (to !== undefined || end < 2 || socketFamily === AF_UNIX) {
    return sendAll(sending, fd, bufs, to, socketFamily === AF_INET6);
  }
  // The kernel drops the error that ends a batch early. One that ICMP reported is found again in
  // the error queue, if there is one; the descriptor is left as it was.
  const options = new IpOptions(native, fd, socketFamily === AF_INET6);
  const hadQueue = options.receivesErrors;
  if (!hadQueue) options.setReceiveErrors(true);
  try {
    const sent = sendAll(sending, fd, bufs, to, socketFamily === AF_INET6);
    if (sent !== WouldBlock && sent < end)
      defer(native, fd, "sendmmsg", drainErrorQueue(native, fd));
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
    // A raw descriptor: its owner sets it up, so nothing is offloaded behind its back.
    const rules = { isIPv6, isPeerIPv4: false, segmentation: undefined };
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
 * Whether a descriptor is non-blocking (O_NONBLOCK).
 *
 * @throws SocketError with code `EBADF` when it is none.
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
    const loaded = loadNative();
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

/** Errors behind a partial batch, for the next call on that descriptor. */
const deferred = new Map<string, number>();

/** Which socket a descriptor is: its number alone may be another's by the next call. */
function identity(native: Native, fd: number, syscall: string): string {
  const own = native.name(fd);
  const ownWords = native.scratch.slice(0, (own + 3) >> 2).join();
  const peer = native.peerName(fd);
  return `${syscall} ${fd} ${ownWords} ${native.scratch.slice(0, (peer + 3) >> 2).join()}`;
}

function defer(native: Native, fd: number, syscall: string, errno: number): void {
  if (errno === 0) return;
  // Descriptors that are never used again would stay here.
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
