/**
 * The parts of arrays that batch calls use, and their checks. All checks happen before a datagram
 * is sent or received.
 */

import type { SocketAddress } from "../address/socket-address.ts";
import { DgramBuffer } from "../buffer/buffer.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { type Destination, type Destinations, destinationAt, toAddress } from "./destination.ts";
import {
  checkPayload,
  checkTarget,
  payloadBytes,
  type Sendable,
  type Target,
  toPayload,
} from "./payload.ts";
import { checkRecvMeta, type RecvMeta } from "./recv-meta.ts";

/** The buffers that a receive fills. */
export interface RecvRange {
  /** Receives the metadata: `meta[i]` belongs to buffer `i`. May be shorter than the buffers. */
  readonly meta?: readonly RecvMeta[] | undefined;
  /** The index of the first buffer to fill. Default 0. */
  readonly start?: number | undefined;
  /** The number of buffers to fill. Default: all from `start` on. */
  readonly count?: number | undefined;
}

/** The datagrams to send, and their destinations. */
export interface SendRange {
  /** One destination for all, or one for each buffer. Absent: the connected peer. */
  readonly to?: Destination | readonly Destination[] | undefined;
  /** The index of the first datagram to send. Default 0. */
  readonly start?: number | undefined;
  /** The number of datagrams to send. Default: all from `start` on. */
  readonly count?: number | undefined;
}

/** The ranges, and the other options of `recvMany` and `sendMany`, which are ranges as well. */
const RECV_RANGE = optionKinds<RecvRange & { signal?: unknown }>({
  meta: "any",
  start: "any",
  count: "any",
  signal: "any",
});
const SEND_RANGE = optionKinds<SendRange & { signal?: unknown; groupByPeer?: unknown }>({
  to: "any",
  start: "any",
  count: "any",
  signal: "any",
  groupByPeer: "boolean",
});

/** A checked `SendRange`: datagrams `start` to `end - 1`. */
export interface CheckedSendRange {
  readonly to: Destinations;
  readonly start: number;
  readonly end: number;
}

/** A checked `RecvRange`: buffers `start` to `end - 1`. */
export interface CheckedRecvRange {
  readonly meta: readonly RecvMeta[] | undefined;
  readonly start: number;
  readonly end: number;
}

/**
 * Returns the end of a range of an array.
 *
 * @throws TypeError if `bufs` is not an array.
 * @throws RangeError if the range exceeds the array.
 */
function endOf(bufs: readonly unknown[], start: number, count: number | undefined): number {
  if (!Array.isArray(bufs)) throw typeError("bufs", "array", bufs);
  const { length } = bufs;
  checkInteger("start", start, 0, length);
  if (count === undefined) return length;
  checkInteger("count", count, 0, length - start);
  return start + count;
}

/**
 * Checks the arguments of a receive except the elements of the arrays, which the receiver checks
 * when it reads them. The names of the range cost 10 to 15 ns, about 1 % of a receive.
 */
export function checkRecvRange(
  bufs: readonly Target[],
  range: RecvRange | undefined,
): CheckedRecvRange {
  if (range !== undefined) checkOptions("options", range, RECV_RANGE);
  const start = range?.start ?? 0;
  const end = endOf(bufs, start, range?.count ?? undefined);
  const meta = range?.meta;
  if (meta !== undefined && !Array.isArray(meta)) throw typeError("meta", "array", meta);
  return { meta, start, end };
}

/** Targets and their metadata objects, read from the arrays of a caller. */
export interface ReadTargets {
  readonly targets: Target[];
  readonly metas: (RecvMeta | undefined)[];
}

/**
 * Reads and checks a range of targets. Reads each element once.
 *
 * @throws TypeError or RangeError for an invalid element, or a `DgramBuffer` that occurs twice.
 */
export function readTargets(
  { meta, start, end }: CheckedRecvRange,
  bufs: readonly Target[],
): ReadTargets {
  const targets: Target[] = [];
  const metas: (RecvMeta | undefined)[] = [];
  const metaLength = meta?.length ?? 0;
  for (let i = start; i < end; i++) {
    const target = bufs[i];
    checkTarget("bufs[]", target);
    if (DgramBuffer._isGenuine(target) && !DgramBuffer._claim(target, i - start, targets)) {
      throw rangeError("bufs[]", "each DgramBuffer once", `one at ${i} again`);
    }
    targets.push(target);
    const datagramMeta = i < metaLength ? meta?.[i] : undefined;
    if (i < metaLength) checkRecvMeta("meta[]", datagramMeta);
    metas.push(datagramMeta);
  }
  return { targets, metas };
}

/** Checks all arguments of a send. */
export function checkSend(
  bufs: readonly Sendable[],
  range: SendRange | undefined,
): CheckedSendRange {
  const checked = checkSendRange(bufs, range);
  const { to, start, end } = checked;
  for (let i = start; i < end; i++) checkPayload("bufs[]", toPayload("bufs[]", bufs[i]));
  if (Array.isArray(to)) for (let i = start; i < end; i++) toAddress("to[]", to[i]);
  return checked;
}

/**
 * Checks the arguments of a send except the elements of the arrays, which the sender checks when it
 * reads them.
 */
export function checkSendRange(
  bufs: readonly Sendable[],
  range: SendRange | undefined,
): CheckedSendRange {
  if (range !== undefined) checkOptions("options", range, SEND_RANGE);
  const start = range?.start ?? 0;
  const end = endOf(bufs, start, range?.count ?? undefined);
  const to = range?.to;
  if (Array.isArray(to)) {
    if (!(to.length >= end)) throw tooFewDestinations(to.length, end);
    return { to, start, end };
  }
  return { to: to === undefined ? undefined : toAddress("to", to), start, end };
}

function tooFewDestinations(length: number, end: number): RangeError {
  const expected = `${end} or more (one for each datagram; a single one for all is no array)`;
  return rangeError("to.length", expected, length);
}

/** A datagram to send, read from the arrays of a caller. */
export interface ReadDatagram {
  readonly bytes: Uint8Array;
  /** Absent: to the connected peer. */
  readonly address: SocketAddress | undefined;
}

/**
 * Reads and checks a range of datagrams. Reads each element once.
 *
 * @throws TypeError or RangeError for an invalid element.
 */
export function readDatagrams(
  { to, start, end }: CheckedSendRange,
  bufs: readonly Sendable[],
): ReadDatagram[] {
  const datagrams: ReadDatagram[] = [];
  for (let i = start; i < end; i++) {
    const payload = toPayload("bufs[]", bufs[i]);
    checkPayload("bufs[]", payload);
    datagrams.push({ bytes: payloadBytes(payload), address: destinationAt(to, i) });
  }
  return datagrams;
}
