/** Groups the datagrams of a `sendMany` call by peer, in arrays that are reused. */

import type { SocketAddress } from "../address/socket-address.ts";
import { groupByPeer } from "../batch/peer-groups.ts";
import type { Payload } from "../datagram/payload.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";

/** The number of objects to keep for later calls. More calls than that may be pending. */
const FREE_MAX = 16;

const free: GroupedSend[] = [];
const order = new Uint16Array(BATCH_COUNT_MAX);

/** The datagrams of one call, in the order in which they are sent. */
export class GroupedSend {
  readonly bufs: Payload[] = [];
  readonly to: SocketAddress[] = [];
  /** The index in the caller's arrays of each datagram. */
  readonly indices: Uint16Array = new Uint16Array(BATCH_COUNT_MAX);

  private constructor() {}

  /**
   * Groups datagrams `start` to `end - 1`. Absent if it is not worth it: the order is kept then.
   */
  static of(
    bufs: readonly Payload[],
    to: readonly SocketAddress[],
    start: number,
    end: number,
  ): GroupedSend | undefined {
    if (end > BATCH_COUNT_MAX || groupByPeer(to, start, end, order) === 0) return undefined;
    const grouped = free.pop() ?? new GroupedSend();
    for (let k = 0; k < end - start; k++) {
      const index = order[k] as number;
      grouped.indices[k] = index;
      grouped.bufs[k] = bufs[index] as Payload;
      grouped.to[k] = to[index] as SocketAddress;
    }
    grouped.bufs.length = grouped.to.length = end - start;
    return grouped;
  }

  /** Releases the datagrams, after the call has settled. */
  release(): void {
    // Keeps the storage of the arrays, and no reference to the caller's memory.
    this.bufs.fill(EMPTY);
    if (free.length < FREE_MAX) free.push(this);
  }
}

const EMPTY = new Uint8Array(0);
