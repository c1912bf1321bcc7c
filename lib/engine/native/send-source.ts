/** The datagrams of one send call, whether they are in an array or in a `SendBatch`. */

import type { SocketAddress } from "../../address/socket-address.ts";
import type { PayloadList } from "../../batch/payloads.ts";
import type { SendBatch } from "../../batch/send-batch.ts";
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

/** The payloads that a sender has loaded. */
export class ListSource implements SendSource {
  readonly #sender: NativeSender;

  constructor(sender: NativeSender) {
    this.#sender = sender;
  }

  /** Another one after the socket was idle. */
  get #list(): PayloadList {
    return this.#sender.list;
  }

  get length(): number {
    return this.#list.length;
  }

  get address(): SocketAddress | undefined {
    return this.#list.address;
  }

  get bytes(): number {
    return this.#list.bytes;
  }

  send(sender: NativeSender): number {
    return sender.sendList();
  }

  drop(): void {
    this.#list.remove(1);
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
