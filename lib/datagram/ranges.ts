/**
 * The parts of arrays that batch calls use, and their checks. All checks happen before a datagram
 * is sent or received.
 */

import { checkAddress, type SocketAddress } from "../address/socket-address.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import type { Destinations } from "./destination.ts";
import { checkPayload, checkTarget, type Payload, type Target } from "./payload.ts";
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
  readonly to?: SocketAddress | readonly SocketAddress[] | undefined;
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

/**
 * Checks an array and the range of it to use, and returns the end of the range.
 *
 * @throws TypeError if `bufs` is not an array.
 * @throws RangeError if the range exceeds the array.
 */
function checkIndices(bufs: readonly unknown[], range: RecvRange | SendRange | undefined): number {
  if (!Array.isArray(bufs)) throw typeError("bufs", "array", bufs);
  const start = range?.start ?? 0;
  checkInteger("start", start, 0, bufs.length);
  const count = range?.count ?? bufs.length - start;
  checkInteger("count", count, 0, bufs.length - start);
  return start + count;
}

/**
 * Checks the arguments of a receive, and returns the end of the range. The names of the range cost
 * 10 to 15 ns, about 1 % of a receive.
 *
 * @param checkedMax the number of buffers to check. A caller that leaves some out passes them to
 * `checkRecvEntries` before it uses them.
 */
export function checkRecvRange(
  bufs: readonly Target[],
  range: RecvRange | undefined,
  checkedMax: number = Number.POSITIVE_INFINITY,
): number {
  if (range !== undefined) checkOptions("options", range, RECV_RANGE);
  const start = range?.start ?? 0;
  const end = checkIndices(bufs, range);
  const meta = range?.meta;
  if (meta !== undefined && !Array.isArray(meta)) throw typeError("meta", "array", meta);
  checkRecvEntries(bufs, meta, start, Math.min(end, start + checkedMax));
  return end;
}

/** Checks buffers `start` to `end - 1` and their metadata objects. */
export function checkRecvEntries(
  bufs: readonly Target[],
  meta: readonly RecvMeta[] | undefined,
  start: number,
  end: number,
): void {
  for (let i = start; i < end; i++) checkTarget("bufs[]", bufs[i]);
  if (meta !== undefined) checkRecvMetas(meta, start, end);
}

/** Checks the metadata objects of buffers `start` to `end - 1`. */
export function checkRecvMetas(meta: readonly RecvMeta[], start: number, end: number): void {
  for (let i = start; i < end && i < meta.length; i++) checkRecvMeta("meta[]", meta[i]);
}

/** Checks all arguments of a send. */
export function checkSend(
  bufs: readonly Payload[],
  range: SendRange | undefined,
): CheckedSendRange {
  const checked = checkSendRange(bufs, range);
  checkSendEntries(bufs, checked);
  return checked;
}

/**
 * Checks the arguments of a send except the elements of the arrays, which engines check when they
 * read them.
 */
export function checkSendRange(
  bufs: readonly Payload[],
  range: SendRange | undefined,
): CheckedSendRange {
  if (range !== undefined) checkOptions("options", range, SEND_RANGE);
  const start = range?.start ?? 0;
  const end = checkIndices(bufs, range);
  const to = range?.to;
  if (Array.isArray(to)) checkInteger("to.length", to.length, end, 2 ** 32 - 1);
  else if (to !== undefined) checkAddress("to", to);
  return { to, start, end };
}

/** Checks the payloads of a range, and their destinations if there is one for each. */
export function checkSendEntries(
  bufs: readonly unknown[],
  { to, start, end }: CheckedSendRange,
): void {
  for (let i = start; i < end; i++) checkPayload("bufs[]", bufs[i]);
  if (Array.isArray(to)) for (let i = start; i < end; i++) checkAddress("to[]", to[i]);
}
