/** Random operations that receive. */

import {
  type DatagramBatch,
  DgramBuffer,
  Pending,
  pollFn,
  RecvBatch,
  WouldBlock,
} from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";
import { Outcome } from "./outcome.ts";
import { numberOf } from "./promise-senders.ts";
import { require } from "./violation.ts";

/** An operation, and the numbers of the datagrams that it received. */
interface Operation {
  readonly name: string;
  /** Whether it was served in the order of the calls: not for a caller's own poll. */
  readonly isOrdered: boolean;
  readonly outcome: Outcome<number[]>;
}

export class Receivers {
  readonly #net: SimNetwork;
  readonly #socket: SimSocket;
  readonly #random: SimRandom;
  readonly #operations: Operation[] = [];
  /** The numbers of the datagrams that left the receive queue, in order. */
  readonly #taken: number[] = [];
  /** Shared: `recvBatch` is used by one operation at a time, as it borrows the memory. */
  readonly #batch = new RecvBatch({ messages: 8 });
  #isBatchUsed = false;
  #isPolling = false;

  constructor(net: SimNetwork, socket: SimSocket) {
    this.#net = net;
    this.#socket = socket;
    this.#random = net.random.fork("receivers");
    net.observe((event) => {
      if (event.kind === "receive") this.#taken.push(numberOf(event.datagram.payload));
    });
  }

  /** The number of operations that were started. */
  get operations(): number {
    return this.#operations.length;
  }

  /** The number of datagrams that were received. */
  get received(): number {
    return this.#taken.length;
  }

  /** Starts an operation. Does not wait for it. */
  start(): void {
    switch (this.#random.integer(0, 6)) {
      case 0:
        this.#add("recv", this.#recv(this.#signal()));
        break;
      case 1:
        this.#add("recvFrom", this.#recvFrom(this.#signal()));
        break;
      case 2:
        this.#add("recvMany", this.#recvMany(this.#random.integer(1, 20), this.#signal()));
        break;
      case 3:
        if (this.#isBatchUsed) break;
        this.#isBatchUsed = true;
        this.#add(
          "recvBatch",
          this.#recvBatch(this.#signal()).finally(() => {
            this.#isBatchUsed = false;
          }),
        );
        break;
      case 4:
        this.#iterate(this.#random.integer(1, 3), this.#signal());
        break;
      case 5:
        this.#try(this.#random.integer(1, 5));
        break;
      default:
        this.#poll();
    }
  }

  /** Receives until `count` more datagrams have been received, by this or other operations. */
  async receiveMore(count: number): Promise<void> {
    // Aborted now and then: another operation may have received the datagrams meanwhile.
    this.#add("recvMany", this.#recvMany(count, this.#net.clock.timeoutSignal(100)));
    await this.#operations.at(-1)?.outcome.settled;
  }

  #signal(): AbortSignal | undefined {
    if (!this.#random.chance(0.3)) return undefined;
    return this.#net.clock.timeoutSignal(this.#random.between(0, 20));
  }

  #add(name: string, promise: Promise<number[]>, isOrdered = true): void {
    this.#operations.push({ name, isOrdered, outcome: new Outcome(promise) });
  }

  async #recv(signal: AbortSignal | undefined): Promise<number[]> {
    const buffer = DgramBuffer.withCapacityAndHeadroom(64 + 16, 16);
    await this.#socket.recv(buffer, { signal });
    require(buffer.headroom === 16, () => `recv left a headroom of ${buffer.headroom}`);
    return [numberOf(buffer.asSlice())];
  }

  async #recvFrom(signal: AbortSignal | undefined): Promise<number[]> {
    const bytes = new Uint8Array(64);
    const { length, peer } = await this.#socket.recvFrom(bytes, { signal });
    require(peer?.port === 1000, () => `recvFrom returned the peer ${peer}`);
    return [numberOf(bytes.subarray(0, length))];
  }

  async #recvMany(count: number, signal: AbortSignal | undefined): Promise<number[]> {
    const buffers = Array.from({ length: count }, () => DgramBuffer.withCapacity(64));
    const received = await this.#socket.recvMany(buffers, { signal });
    return buffers.slice(0, received).map((buffer) => numberOf(buffer.asSlice()));
  }

  async #recvBatch(signal: AbortSignal | undefined): Promise<number[]> {
    const batch = this.#batch;
    const count = await this.#socket.recvBatch(batch, { signal });
    require(count === batch.length, () => `recvBatch returned ${count} of ${batch.length}`);
    return Array.from({ length: count }, (_, i) => numberOf(batch.payload(i)));
  }

  /** Iterates over some batches. The steps are operations that start one after another. */
  #iterate(steps: number, signal: AbortSignal | undefined): void {
    const iterator = this.#socket.batches({ count: 4, signal });
    const step = async (remaining: number): Promise<number[]> => {
      const { value, done } = await iterator.next();
      if (done) return [];
      const batch = value as DatagramBatch;
      const numbers = batch.buffers
        .slice(0, batch.length)
        .map((buffer) => numberOf(buffer.asSlice()));
      if (remaining > 1) this.#add("batches", step(remaining - 1));
      else await iterator.return();
      return numbers;
    };
    this.#add("batches", step(steps));
  }

  #try(count: number): void {
    const isWaiting = this.#socket._recvQueue?.isBusy ?? false;
    const buffers = Array.from({ length: count }, () => DgramBuffer.withCapacity(64));
    const received = this.#socket.tryRecvMany(buffers);
    if (received === WouldBlock) return;
    require(!isWaiting, () => "a try call received before the callers that wait");
    const numbers = buffers.slice(0, received).map((buffer) => numberOf(buffer.asSlice()));
    this.#add("try", Promise.resolve(numbers));
  }

  /** Receives a datagram with a poll of the caller, one at a time. */
  #poll(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    const bytes = new Uint8Array(64);
    const done = pollFn((waker) => {
      const length = this.#socket.pollRecv(waker, bytes);
      return length === Pending ? Pending : [numberOf(bytes.subarray(0, length))];
    });
    const unlocked = done.finally(() => {
      this.#isPolling = false;
    });
    this.#add("poll", unlocked, false);
  }

  /** Checks all operations. To be called after the socket was closed. */
  check(sent: readonly number[]): void {
    require(this.#taken.join() === sent.slice(0, this.#taken.length).join(), () =>
      `received out of order: ${this.#taken}, sent ${sent}`);
    const all: number[] = [];
    const positions: number[] = [];
    for (const { name, isOrdered, outcome } of this.#operations) {
      outcome.checkError(name);
      const numbers = outcome.value ?? [];
      all.push(...numbers);
      if (isOrdered) positions.push(...numbers.map((number) => this.#taken.indexOf(number)));
    }
    const isSame = all.toSorted().join() === this.#taken.toSorted().join();
    require(isSame, () => `operations received ${all}, and ${this.#taken} were taken`);
    const sorted = positions.toSorted((a, b) => a - b);
    require(positions.join() === sorted.join(), () => `served out of order: ${positions}`);
  }
}
