/**
 * `recvmmsg` and `sendmmsg` on a descriptor that the caller owns, without a socket object. Linux
 * only. They never block, even if the descriptor is blocking.
 */

import { NAME_CAPACITY_MAX, type Native } from "../../ffi/native.ts";
import { AF_INET, AF_INET6 } from "../address/sockaddr.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import { MessageBuilder } from "../batch/message-builder.ts";
import { PayloadList } from "../batch/payloads.ts";
import { TargetList } from "../batch/targets.ts";
import { newCounters } from "../datagram/counters.ts";
import type { Destinations } from "../datagram/destination.ts";
import type { Sendable, Target } from "../datagram/payload.ts";
import { checkRecvRange, checkSendRange } from "../datagram/ranges.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import {
  EAGAIN,
  EINVAL,
  IPPROTO_UDP,
  SO_TYPE,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_SOCKET,
  UDP_GRO,
} from "../linux/constants.ts";
import { drainErrorQueue } from "../linux/error-queue.ts";
import { IpSocketOptions } from "../linux/socket-options.ts";
import { WouldBlock } from "../poll/poll.ts";
import { checkInteger } from "../support/check.ts";
import { SocketError, unsupportedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { loadFunctions } from "../support/native.ts";
import { sharedValue } from "../support/thread-state.ts";

const O_NONBLOCK = 0o4000;

/** The memory that a call uses. */
interface Lists {
  readonly targets: TargetList;
  readonly sending: MessageBuilder;
  readonly payloads: PayloadList;
}

/** Those that no call uses: a call may run code of the caller, which makes another call. */
const idleLists: Lists[] = [];

/** The maximum number of deferred errors. All are discarded beyond that. */
const DEFERRED_MAX = 1024;

let functions: Native | undefined;

/**
 * Receives the available datagrams into `bufs`, one per buffer, and returns their number, or
 * `WouldBlock` if there is none. Stores the metadata of datagram i in `meta[i]`, if present.
 *
 * Makes one system call per 1024 buffers. Returns 0 if there are no buffers.
 *
 * @throws TypeError or RangeError for an invalid buffer or metadata object. Those after the first
 * 1024 are checked when a receive reaches them; the call then returns the number received before.
 * @throws SocketError if the system reports an error before the first datagram. An error after the
 * first is thrown by the next call on the descriptor. With code `EINVAL` if the descriptor is no
 * datagram socket, or has `UDP_GRO` enabled: merged datagrams could not be separated.
 */
export function recvmmsg(
  fd: number,
  bufs: readonly Target[],
  meta?: readonly RecvMeta[],
): number | WouldBlock {
  return receiveFrom(fd, bufs, meta, true);
}

/**
 * Receives as `recvmmsg` does. Without `mustCheck`, the caller has made a call with it on the same
 * socket: the check takes 170 ns, as much as a sixth of a call that receives one datagram.
 */
export function receiveFrom(
  fd: number,
  bufs: readonly Target[],
  meta: readonly RecvMeta[] | undefined,
  mustCheck: boolean,
): number | WouldBlock {
  const native = open("recvmmsg", fd);
  const { end } = checkRecvRange(bufs, meta === undefined ? undefined : { meta });
  if (end === 0) return 0;
  const lists = idleLists.pop() ?? newLists(native);
  try {
    return receiveAll(native, lists.targets, fd, bufs, { meta, end, mustCheck });
  } finally {
    lists.targets.release(Math.min(end, BATCH_COUNT_MAX));
    idleLists.push(lists);
  }
}

/** The arguments of a receive. */
interface ReceivePlan {
  readonly meta: readonly RecvMeta[] | undefined;
  readonly end: number;
  readonly mustCheck: boolean;
}

function receiveAll(
  native: Native,
  targets: TargetList,
  fd: number,
  bufs: readonly Target[],
  { meta, end, mustCheck }: ReceivePlan,
): number | WouldBlock {
  const { vector } = targets;
  const records = { counters: newCounters(), local: undefined };
  let done = 0;
  while (done < end) {
    const limit = Math.min(end - done, BATCH_COUNT_MAX);
    vector.reserve(limit);
    try {
      targets.load(bufs, meta, { slot: 0, start: done, count: limit });
      vector.prepare(0, limit);
    } catch (error) {
      // The next call, which starts with the invalid one, throws.
      if (done > 0) return done;
      throw error;
    }
    if (done === 0) {
      if (mustCheck) checkDatagramSocket(native, fd, "recvmmsg");
      throwDeferred(native, fd, "recvmmsg");
    }
    const result = vector.receive(fd, 0, limit);
    if (result < 0 && done === 0) return failed(-result, "recvmmsg");
    if (result < 0 && result !== -EAGAIN) defer(native, fd, "recvmmsg", -result);
    if (result <= 0) return done;
    done += result;
    targets.store(0, result, records);
    if (result < limit) return done;
  }
  return done;
}

/**
 * Sends `bufs` in order, and returns the number of datagrams sent, or `WouldBlock` if the socket is
 * full. `to` is one destination for all, one for each, or absent for a connected socket.
 *
 * @throws TypeError or RangeError for an invalid buffer or address. Those after the first 1024 are
 * checked when a send reaches them; the call then returns the number sent before.
 * @throws SocketError if the first datagram is refused. An error after the first is thrown by the
 * next call on the descriptor, once. With code `EINVAL` if the descriptor is no datagram socket.
 */
export function sendmmsg(
  fd: number,
  bufs: readonly Sendable[],
  to?: SocketAddress | readonly SocketAddress[],
): number | WouldBlock {
  const native = open("sendmmsg", fd);
  const { end } = checkSendRange(bufs, to === undefined ? undefined : { to });
  if (end === 0) return 0;
  const lists = idleLists.pop() ?? newLists(native);
  try {
    const limit = Math.min(end, BATCH_COUNT_MAX);
    lists.payloads.load(bufs, { start: 0, count: limit }, to);
    checkDatagramSocket(native, fd, "sendmmsg");
    throwDeferred(native, fd, "sendmmsg");
    return sendChecked(native, lists, fd, bufs, { to, end });
  } finally {
    lists.sending.vector.release(Math.min(end, BATCH_COUNT_MAX));
    idleLists.push(lists);
  }
}

/** Sends datagrams, of which the first are loaded. */
function sendChecked(
  native: Native,
  lists: Lists,
  fd: number,
  bufs: readonly Sendable[],
  { to, end }: { to: Destinations; end: number },
): number | WouldBlock {
  const parameters = { to, end, isIPv6: false };
  if (to === undefined && end < 2) return sendAll(lists, fd, bufs, parameters);
  const family = native.name(fd) < 0 ? -1 : (native.scratch[0] as number) & 0xffff;
  const isIPv6 = family === AF_INET6;
  const isIP = isIPv6 || family === AF_INET;
  parameters.isIPv6 = isIPv6;
  if (to !== undefined || !isIP) return sendAll(lists, fd, bufs, parameters);
  // The kernel discards the error that ends a batch early. If ICMP reported it, the error queue has
  // it. The queue is enabled for this call only.
  const options = new IpSocketOptions(native, fd, isIPv6);
  const hadQueue = options.receivesErrors;
  if (!hadQueue) options.setReceiveErrors(true);
  try {
    const sent = sendAll(lists, fd, bufs, parameters);
    if (sent !== WouldBlock && sent < end)
      defer(native, fd, "sendmmsg", drainErrorQueue(native, fd).errno);
    return sent;
  } finally {
    if (!hadQueue) options.setReceiveErrors(false);
  }
}

function sendAll(
  { sending, payloads }: Lists,
  fd: number,
  bufs: readonly Sendable[],
  { to, end, isIPv6 }: { to: Destinations; end: number; isIPv6: boolean },
): number | WouldBlock {
  // No GSO: the options of the descriptor are the responsibility of its owner.
  const rules = { isIPv6, isPeerIPv4: false, gsoLimits: undefined };
  for (let done = 0; ; ) {
    let messages: number;
    try {
      if (payloads.length === 0) {
        payloads.load(bufs, { start: done, count: Math.min(end - done, BATCH_COUNT_MAX) }, to);
      }
      messages = payloads.build(rules);
    } catch (error) {
      // The next call, which starts with the invalid one, throws.
      if (done > 0) return done;
      throw error;
    }
    const result = sending.vector.send(fd, 0, messages);
    if (result < 0) return done > 0 ? done : failed(-result, "sendmmsg");
    done += result;
    payloads.remove(result);
    if (result < messages || done === end) return done;
  }
}

/**
 * Returns whether a descriptor is non-blocking (O_NONBLOCK).
 *
 * @throws SocketError with code `EBADF` if it is not open.
 */
export function isNonblocking(fd: number): boolean {
  const native = open("fcntl", fd);
  const flags = native.flags(fd);
  if (flags < 0) throw new SocketError({ errno: -flags, syscall: "fcntl", address: `fd ${fd}` });
  return (flags & O_NONBLOCK) !== 0;
}

function open(what: string, fd: number): Native {
  checkInteger("fd", fd, 0, 2 ** 31 - 1);
  if (functions === undefined) {
    const loaded = loadFunctions(what);
    if ("reason" in loaded) throw unsupportedError(what, loaded.reason);
    functions = loaded.native;
  }
  return functions;
}

function newLists(native: Native): Lists {
  const sending = new MessageBuilder(native.sendVector(NAME_CAPACITY_MAX));
  return {
    targets: new TargetList(native.receiveVector(NAME_CAPACITY_MAX)),
    sending,
    payloads: new PayloadList(sending),
  };
}

/**
 * Checks that `fd` is a socket that preserves datagrams. Others would lose bytes: a stream discards
 * what MSG_TRUNC reports the length of (tcp(7)), and UDP_GRO merges datagrams.
 *
 * Checked by every call: the number of a descriptor may have been reused since the last one.
 */
function checkDatagramSocket(native: Native, fd: number, syscall: string): void {
  // Only UDP sockets have the option, so one call suffices for them.
  const isReceive = syscall === "recvmmsg";
  if (isReceive && native.getIntOption(fd, IPPROTO_UDP, UDP_GRO) >= 0) {
    if (native.scratch[0] === 0) return;
    throw new SocketError({
      errno: EINVAL,
      syscall,
      address: `fd ${fd}`,
      detail: "UDP_GRO is enabled and merges datagrams: disable it, or use UdpSocket.fromFd",
    });
  }
  const result = native.getIntOption(fd, SOL_SOCKET, SO_TYPE);
  if (result < 0) throw new SocketError({ errno: -result, syscall, address: `fd ${fd}` });
  const type = native.scratch[0];
  if (type === SOCK_DGRAM || type === SOCK_RAW) return;
  throw new SocketError({
    errno: EINVAL,
    syscall,
    address: `fd ${fd}`,
    detail: `datagram socket expected, got a socket of type ${type}`,
  });
}

/** The errors after partial batches, by descriptor. */
const deferred: Map<string, number> = sharedValue("deferred", () => new Map());

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
