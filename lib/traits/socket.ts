/**
 * Both halves together, and the two ways into a socket that some code needs: its descriptor, and
 * datagrams that come in buffers of the socket's own.
 */

import type { DgramBuffer } from "../buffer/buffer.ts";
import type { UdpSocket } from "../sockets/udp.ts";
import { checkInteger } from "../support/check.ts";
import { Pending, type Poll, type Waker } from "./poll.ts";
import { DatagramSocketRecv } from "./recv.ts";
import { DatagramSocketSend } from "./send.ts";
import type { AsSocketStats } from "./stats.ts";

/**
 * A datagram socket. A type of your own writes `pollSend` and `pollRecvFrom`; all else follows.
 *
 * @example
 * ```ts
 * class Loopback extends DatagramSocket {
 *   #queue: Uint8Array[] = [];
 *   pollSend(_waker: Waker | null, buf: Payload) { ... }
 *   pollRecvFrom(waker: Waker | null, buf: Target, info: DatagramInfo) { ... }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods are added right below.
export abstract class DatagramSocket extends DatagramSocketSend {
  /** The file descriptor, still the socket's own; absent where there is none. */
  asRawIo(): number | undefined {
    return undefined;
  }

  /**
   * Hands the file descriptor over to the caller, who closes it; the socket is closed then.
   * Absent, and nothing changed, where there is none.
   */
  intoFd(): number | undefined {
    return undefined;
  }

  /** Its way to send and receive in buffers that are handed over, if it has one. */
  asBufIo(): RawPoolBufDatagramIo | undefined {
    return undefined;
  }

  override asUdpSocket(): UdpSocket | undefined {
    return undefined;
  }
}

// A class has one base: the receive half's methods are copied over, as TypeScript's handbook does
// for mixins. They use no private names, so they work on any object.
export interface DatagramSocket extends DatagramSocketRecv {}

for (const [name, descriptor] of Object.entries(
  Object.getOwnPropertyDescriptors(DatagramSocketRecv.prototype),
)) {
  if (!Object.hasOwn(DatagramSocket.prototype, name)) {
    Object.defineProperty(DatagramSocket.prototype, name, descriptor);
  }
}
Object.defineProperty(DatagramSocket.prototype, Symbol.asyncIterator, {
  value: DatagramSocketRecv.prototype[Symbol.asyncIterator],
  writable: true,
  configurable: true,
});

/** A datagram socket that knows its statistics. */
export type DatagramSocketWithStats = DatagramSocket & AsSocketStats;

/** Sends and receives datagrams in buffers that are handed over instead of lent. */
export abstract class RawPoolBufDatagramIo {
  /**
   * Sends `datagrams` in order: how many went. Those that went may be taken over, and are left
   * empty then.
   */
  abstract pollSendDatagrams(waker: Waker | null, datagrams: DgramBuffer[]): Poll<number>;

  /** Receives one datagram in a buffer that is the caller's from then on. */
  abstract pollRecvDgram(waker: Waker | null): Poll<DgramBuffer>;

  /** @internal An error behind a partial batch, which the next call throws. */
  _deferredError: unknown;

  /**
   * Appends up to `limit` received datagrams to `buffers`: how many. A partial count wins over
   * `Pending` and over an error, which the next call throws, once.
   */
  pollRecvDatagrams(waker: Waker | null, buffers: DgramBuffer[], limit: number): Poll<number> {
    checkInteger("limit", limit, 0, Number.MAX_SAFE_INTEGER);
    const error = this._deferredError;
    if (error !== undefined) {
      this._deferredError = undefined;
      throw error;
    }
    for (let i = 0; i < limit; i++) {
      try {
        const buffer = this.pollRecvDgram(i === 0 ? waker : null);
        if (buffer === Pending) return i > 0 ? i : Pending;
        buffers.push(buffer);
      } catch (error) {
        if (i === 0) throw error;
        this._deferredError = error;
        return i;
      }
    }
    return limit;
  }
}
