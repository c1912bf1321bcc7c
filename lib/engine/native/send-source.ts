/** The datagrams of one send call, whether they are in an array or in a `SendBatch`. */

import type { SocketAddress } from "../../address/socket-address.ts";
import type { SendBatch } from "../../batch/send-batch.ts";
import type { BufferRange } from "../../batch/targets.ts";
import { type Destinations, destinationAt } from "../../datagram/destination.ts";
import type { Payload } from "../../datagram/payload.ts";
import type { NativeSender } from "./native-sender.ts";

/** Datagrams that are removed from the front as they are sent or dropped. */
export interface SendSource {
  /** The number of datagrams that are left. */
  readonly length: number;
  /** The destination of the first datagram; absent: the connected peer. */
  readonly address: SocketAddress | undefined;
  /** The length of the first datagram in bytes. */
  readonly bytes: number;
  /** Sends datagrams and removes them. Returns their number, or -errno if the first failed. */
  send(sender: NativeSender): number;
  /** Removes the first datagram. */
  drop(): void;
}

/** Datagrams in an array of payloads. */
export class ArraySource implements SendSource {
  readonly #bufs: readonly Payload[];
  readonly #to: Destinations;
  readonly #range: BufferRange;

  constructor(bufs: readonly Payload[], range: BufferRange, to: Destinations) {
    this.#bufs = bufs;
    this.#range = range;
    this.#to = to;
  }

  get length(): number {
    return this.#range.count;
  }

  get address(): SocketAddress | undefined {
    return destinationAt(this.#to, this.#range.start);
  }

  get bytes(): number {
    return this.#bufs[this.#range.start]?.length ?? 0;
  }

  send(sender: NativeSender): number {
    const result = sender.send(this.#bufs, this.#range, this.#to);
    if (result > 0) this.#remove(result);
    return result;
  }

  drop(): void {
    this.#remove(1);
  }

  #remove(count: number): void {
    this.#range.start += count;
    this.#range.count -= count;
  }
}

/** Datagrams in a batch. */
export class BatchSource implements SendSource {
  readonly #batch: SendBatch;

  constructor(batch: SendBatch) {
    this.#batch = batch;
  }

  get length(): number {
    return this.#batch.length;
  }

  get address(): SocketAddress | undefined {
    return this.#batch._firstAddress;
  }

  get bytes(): number {
    return this.#batch._firstLength;
  }

  send(sender: NativeSender): number {
    return sender.sendBatch(this.#batch);
  }

  drop(): void {
    this.#batch.drop(1);
  }
}
