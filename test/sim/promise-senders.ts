/** Random operations that send. Datagrams are numbered in the order of the calls. */

import {
  DgramBuffer,
  Pending,
  pollFn,
  SendBatch,
  type SocketAddress,
  SocketError,
  WouldBlock,
} from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";
import { Outcome } from "./outcome.ts";
import { require } from "./violation.ts";

/** The numbers of datagrams that a caller's own poll sends start here. */
const POLLED = 1_000_000;

/** An operation: it sends datagrams `first` to `first + count - 1`, or the first of them. */
interface Operation {
  readonly name: string;
  readonly first: number;
  readonly count: number;
  readonly outcome: Outcome<number>;
}

export class Senders {
  /** The numbers of the datagrams that were sent, in order. */
  readonly sent: number[] = [];
  readonly #net: SimNetwork;
  readonly #socket: SimSocket;
  readonly #to: SocketAddress | undefined;
  readonly #random: SimRandom;
  readonly #operations: Operation[] = [];
  #next = 0;
  #nextPolled = POLLED;
  #isPolling = false;

  /** Sends with `socket` to `to`, or to its peer. */
  constructor(net: SimNetwork, socket: SimSocket, to: SocketAddress | undefined) {
    this.#net = net;
    this.#socket = socket;
    this.#to = to;
    this.#random = net.random.fork("senders");
    net.observe((event) => {
      if (event.kind === "send") this.sent.push(numberOf(event.datagram.payload));
    });
  }

  /** The number of operations that were started. */
  get operations(): number {
    return this.#operations.length;
  }

  /** Starts an operation. Does not wait for it. */
  start(): void {
    switch (this.#random.integer(0, 5)) {
      case 0:
        this.#add("send", 1, (first, signal) => this.#send(first, signal));
        break;
      case 1:
        this.#add("sendMany", this.#random.integer(0, 20), (first, signal, count) =>
          this.#socket.sendMany(numbered(first, count), { to: this.#to, signal }),
        );
        break;
      case 2:
        this.#add("sendBatch", this.#random.integer(1, 20), (first, signal, count) =>
          this.#sendBatch(first, signal, count),
        );
        break;
      case 3:
        this.#try(1, (first) => {
          const [buf] = numbered(first, 1) as [Uint8Array];
          const { trySend, trySendTo } = this.#socket;
          const result =
            this.#to === undefined
              ? trySend.call(this.#socket, buf)
              : trySendTo.call(this.#socket, buf, this.#to);
          return result === WouldBlock ? WouldBlock : 1;
        });
        break;
      case 4:
        this.#try(this.#random.integer(1, 20), (first, count) =>
          this.#socket.trySendMany(numbered(first, count), { to: this.#to }),
        );
        break;
      default:
        this.#poll();
    }
  }

  #signal(): AbortSignal | undefined {
    if (!this.#random.chance(0.3)) return undefined;
    return this.#net.clock.timeoutSignal(this.#random.between(0, 20));
  }

  #add(
    name: string,
    count: number,
    start: (first: number, signal: AbortSignal | undefined, count: number) => Promise<number>,
  ): void {
    const first = this.#next;
    this.#next += count;
    const outcome = new Outcome(start(first, this.#signal(), count));
    this.#operations.push({ name, first, count, outcome });
  }

  async #send(first: number, signal: AbortSignal | undefined): Promise<number> {
    // A buffer with headroom, as a proxy has.
    const buffer = DgramBuffer.withCapacityAndHeadroom(64, 16);
    buffer.putSlice(numbered(first, 1)[0] as Uint8Array);
    const to = this.#to;
    const bytes = await (to === undefined
      ? this.#socket.send(buffer, { signal })
      : this.#socket.sendTo(buffer, to, { signal }));
    require(bytes === buffer.length, () => `send returned ${bytes} of ${buffer.length} bytes`);
    return 1;
  }

  async #sendBatch(first: number, signal: AbortSignal | undefined, count: number): Promise<number> {
    const batch = new SendBatch({ datagrams: count });
    for (const payload of numbered(first, count)) {
      batch.prefix(payload.subarray(0, 2)).push(payload.subarray(2), this.#to);
    }
    const sent = await this.#socket.sendBatch(batch, { signal });
    require(batch.length === count - sent, () => `sendBatch left ${batch.length} of ${count}`);
    return sent;
  }

  #try(count: number, send: (first: number, count: number) => number | WouldBlock): void {
    const first = this.#next;
    const isWaiting = this.#socket._sendQueue?.isBusy ?? false;
    let result: number | WouldBlock;
    try {
      result = send(first, count);
    } catch (error) {
      // Nothing was sent, or the error would have been left for the next call.
      this.#next += count;
      const outcome = new Outcome<number>(Promise.reject(error));
      this.#operations.push({ name: "try", first, count, outcome });
      return;
    }
    if (result === WouldBlock) return;
    require(!isWaiting, () => "a try call was sent before the callers that wait");
    this.#next += count;
    const outcome = new Outcome(Promise.resolve(result));
    this.#operations.push({ name: "try", first, count, outcome });
  }

  /** Sends a datagram with a poll of the caller, one at a time. */
  #poll(): void {
    if (this.#isPolling) return;
    this.#isPolling = true;
    const first = this.#nextPolled++;
    const [buf] = numbered(first, 1) as [Uint8Array];
    const done = pollFn((waker) => {
      const to = this.#to;
      const { pollSend, pollSendTo } = this.#socket;
      const result =
        to === undefined
          ? pollSend.call(this.#socket, waker, buf)
          : pollSendTo.call(this.#socket, waker, buf, to);
      return result === Pending ? Pending : 1;
    });
    const outcome = new Outcome(done.finally(() => (this.#isPolling = false)));
    this.#operations.push({ name: "poll", first, count: 1, outcome });
  }

  /** Fulfilled when all operations are settled. */
  async settled(): Promise<void> {
    await Promise.all(this.#operations.map(({ outcome }) => outcome.settled));
  }

  /** The number of operations that an ICMP error made fail. */
  get refused(): number {
    return this.#operations.filter(({ outcome }) => outcome.isRefused).length;
  }

  /** Checks all operations. To be called after the socket was closed. */
  check(): void {
    const sent = new Set(this.sent);
    require(sent.size === this.sent.length, () => "a datagram was sent twice");
    for (const polled of [true, false]) {
      const numbers = this.sent.filter((number) => number >= POLLED === polled);
      const sorted = numbers.toSorted((a, b) => a - b);
      require(numbers.join() === sorted.join(), () => `sent out of order: ${numbers}`);
    }
    for (const { name, first, count, outcome } of this.#operations) {
      const label = `${name} of ${first}..${first + count - 1}`;
      outcome.checkError(label);
      const { value, error } = outcome;
      const partial = error instanceof SocketError ? (error.sent ?? 0) : 0;
      const reported = value ?? partial;
      let actual = 0;
      while (actual < count && sent.has(first + actual)) actual++;
      require(reported === actual, () => `${label} reported ${reported}, and sent ${actual}`);
    }
  }
}

function numbered(first: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const bytes = new Uint8Array(4 + ((first + i) % 40)).fill(first + i);
    new DataView(bytes.buffer).setUint32(0, first + i);
    return bytes;
  });
}

/** Returns the number of a datagram. @throws Violation if it was altered. */
export function numberOf(bytes: Uint8Array): number {
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const isIntact =
    bytes.length === 4 + (number % 40) && bytes.subarray(4).every((byte) => byte === number % 256);
  require(isIntact, () => `datagram ${number} was altered`);
  return number;
}
