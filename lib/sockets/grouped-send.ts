/** Groups the datagrams of a `sendMany` call by peer, in arrays that are reused. */

import type { SocketAddress } from "../address/socket-address.ts";
import { groupByPeer } from "../batch/peer-groups.ts";
import { type Destinations, destinationAt } from "../datagram/destination.ts";
import { type Payload, type Sendable, toPayload } from "../datagram/payload.ts";
import type { CheckedSendRange } from "../datagram/ranges.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";

/** The number of objects to keep for later calls. More calls than that may be pending. */
const FREE_MAX = 16;

/** The least number of datagrams of which two for one peer may have others between them. */
const GROUPED_MIN = 3;

const free: GroupedSend[] = [];
const order = new Uint16Array(BATCH_COUNT_MAX);

/** The datagrams of one call, in the order in which they are sent. */
export class GroupedSend {
  readonly bufs: Payload[] = [];
  readonly to: SocketAddress[] = [];
  /** The index in the caller's arrays of each datagram. */
  readonly indices: Uint16Array = new Uint16Array(BATCH_COUNT_MAX);
  /** The datagrams in the order of the caller. */
  readonly #bufs: Payload[] = [];
  readonly #to: SocketAddress[] = [];

  private constructor() {}

  /**
   * Reads and checks the datagrams of a range, and groups them if it is worth it. Reads each element
   * of the arrays once: that may run code of the caller. Absent for more than fit into a batch, and for
   * so few that no two of one peer can be apart.
   *
   * @throws TypeError or RangeError for an invalid element.
   */
  static of(
    bufs: readonly Sendable[],
    { to, start, end }: CheckedSendRange,
  ): GroupedSend | undefined {
    if (end > BATCH_COUNT_MAX || end - start < GROUPED_MIN) return undefined;
    const grouped = free.pop() ?? new GroupedSend();
    try {
      grouped.#read(bufs, to, start, end);
    } catch (error) {
      grouped.release();
      throw error;
    }
    grouped.#group(start);
    return grouped;
  }

  #read(bufs: readonly Sendable[], to: Destinations, start: number, end: number): void {
    this.#bufs.length = this.#to.length = end - start;
    for (let i = start; i < end; i++) {
      this.#bufs[i - start] = toPayload("bufs[]", bufs[i]);
      this.#to[i - start] = destinationAt(to, i) as SocketAddress;
    }
  }

  #group(start: number): void {
    const count = this.#bufs.length;
    const isGrouped = groupByPeer(this.#to, 0, count, order) > 0;
    this.bufs.length = this.to.length = count;
    for (let k = 0; k < count; k++) {
      const i = isGrouped ? (order[k] as number) : k;
      this.indices[k] = start + i;
      this.bufs[k] = this.#bufs[i] as Payload;
      this.to[k] = this.#to[i] as SocketAddress;
    }
  }

  /** Releases the datagrams, after the call has settled. */
  release(): void {
    // Keeps the storage of the arrays, and no reference to the caller's memory.
    this.bufs.fill(EMPTY);
    this.#bufs.fill(EMPTY);
    if (free.length < FREE_MAX) free.push(this);
  }
}

const EMPTY = new Uint8Array(0);
