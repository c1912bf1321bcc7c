/**
 * Socket types as a user would write them, public names only: one with the two base methods and
 * nothing else, of which the test says what the next sends come to, and what arrives; and wrappers.
 */

import { getEventListeners } from "node:events";
import {
  AsDatagramSocketRecv,
  AsDatagramSocketSend,
  DatagramSocket,
  type DatagramSocketRecv,
  type DatagramSocketSend,
  DgramBuffer,
  type Payload,
  Pending,
  type Poll,
  type RecvMeta,
  type SocketAddress,
  type Target,
  type Waker,
} from "../../lib/index.ts";

/** What a send comes to: it is full until `makeRoom`, or fails once. */
type SendStep = "sent" | "full" | Error;

/** Drives itself by what the test planned. */
export class BaseSocket extends DatagramSocket {
  /** What the next sends come to, in order; behind the last of them all are sent. */
  readonly sendPlan: SendStep[] = [];
  /** The first bytes of all datagrams that were sent. */
  readonly sent: number[] = [];
  /** What arrived and is not received yet. */
  readonly arrived: (Uint8Array | Error)[] = [];
  sendPolls = 0;
  recvPolls = 0;
  sendWaker: Waker | null = null;
  recvWaker: Waker | null = null;

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    this.sendPolls++;
    if (this.sendPlan[0] === "full") {
      if (waker !== null) this.sendWaker = waker;
      return Pending;
    }
    const step = this.sendPlan.shift();
    if (step instanceof Error) throw step;
    const bytes = buf instanceof DgramBuffer ? buf.asSlice() : buf;
    this.sent.push(bytes[0] ?? -1);
    return bytes.length;
  }

  override pollRecvFrom(waker: Waker | null, buf: Target, meta: RecvMeta): Poll<number> {
    this.recvPolls++;
    const next = this.arrived.shift();
    if (next === undefined) {
      if (waker !== null) this.recvWaker = waker;
      return Pending;
    }
    if (next instanceof Error) throw next;
    if (buf instanceof DgramBuffer) buf.putSlice(next);
    else buf.set(next);
    meta.length = meta.datagramLength = next.length;
    meta.peer = undefined;
    return next.length;
  }

  /** Ends being full, and wakes. */
  makeRoom(): void {
    if (this.sendPlan[0] === "full") this.sendPlan.shift();
    const waker = this.sendWaker;
    this.sendWaker = null;
    waker?.();
  }

  /** Lets something arrive, and wakes. */
  arrive(...datagrams: (Uint8Array | Error)[]): void {
    this.arrived.push(...datagrams);
    const waker = this.recvWaker;
    this.recvWaker = null;
    waker?.();
  }
}

/** A `BaseSocket` that is connected. */
export class ConnectedBaseSocket extends BaseSocket {
  peer: SocketAddress | undefined;

  constructor(peer: SocketAddress | undefined) {
    super();
    this.peer = peer;
  }

  override get peerAddr(): SocketAddress | undefined {
    return this.peer;
  }
}

/** Sends by the socket it wraps. */
export class SendWrapper extends AsDatagramSocketSend {
  readonly #inner: DatagramSocketSend;

  constructor(inner: DatagramSocketSend) {
    super();
    this.#inner = inner;
  }

  override asDatagramSocketSend(): DatagramSocketSend {
    return this.#inner;
  }
}

/** Receives by the socket it wraps. */
export class RecvWrapper extends AsDatagramSocketRecv {
  readonly #inner: DatagramSocketRecv;

  constructor(inner: DatagramSocket) {
    super();
    this.#inner = inner as unknown as DatagramSocketRecv;
  }

  override asDatagramSocketRecv(): DatagramSocketRecv {
    return this.#inner;
  }
}

/** Datagrams of one byte each: `from`, `from + 1`, ... */
export function datagrams(from: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => Uint8Array.of(from + i));
}

/** How many listeners wait for a signal's abort. */
export function listenerCount(signal: AbortSignal): number {
  return getEventListeners(signal, "abort").length;
}

/** Notes the order in which promises settle, and how. */
export class Settled {
  readonly order: string[] = [];

  watch(name: string, promise: Promise<unknown>): void {
    promise.then(
      (value) => this.order.push(`${name} ${value}`),
      (error) => this.order.push(`${name} failed ${(error as Error)?.message ?? error}`),
    );
  }
}
