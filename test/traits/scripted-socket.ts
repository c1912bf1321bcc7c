/**
 * User-defined socket types for tests, written with the public API only: a socket that implements
 * just the two abstract methods, with results that the test scripts, and wrappers.
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
  SocketError,
  type Target,
  type Waker,
} from "../../lib/index.ts";

/** The result of a send. `full`: returns `Pending` until `makeRoom`. An error is thrown once. */
type SendStep = "sent" | "full" | Error;

/** A socket whose sends and receives have the results that the test scripted. */
export class ScriptedSocket extends DatagramSocket {
  /** The results of the next sends, in order. When it is empty, sends succeed. */
  readonly sendPlan: SendStep[] = [];
  /** The first byte of the datagrams that are refused each time they are sent (EPERM). */
  refuses: number | undefined;
  /** The first byte of each datagram sent; -1 for an empty datagram. */
  readonly sent: number[] = [];
  /** The datagrams and errors that the next receives return or throw. */
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
    const first = buf instanceof DgramBuffer ? buf.asSlice()[0] : buf[0];
    if (first === this.refuses && first !== undefined) {
      throw new SocketError({ errno: 1, syscall: "send" });
    }
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

  /** Removes a leading `full` step, and calls the waker of the last pending send. */
  makeRoom(): void {
    if (this.sendPlan[0] === "full") this.sendPlan.shift();
    const waker = this.sendWaker;
    this.sendWaker = null;
    waker?.();
  }

  /** Appends to `arrived`, and calls the waker of the last pending receive. */
  arrive(...datagrams: (Uint8Array | Error)[]): void {
    this.arrived.push(...datagrams);
    const waker = this.recvWaker;
    this.recvWaker = null;
    waker?.();
  }
}

/** A `ScriptedSocket` with a peer address. */
export class ConnectedScriptedSocket extends ScriptedSocket {
  peer: SocketAddress | undefined;

  constructor(peer: SocketAddress | undefined) {
    super();
    this.peer = peer;
  }

  override get peerAddr(): SocketAddress | undefined {
    return this.peer;
  }
}

/** A wrapper that forwards sends to another socket. */
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

/** A wrapper that forwards receives to another socket. */
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

/** Returns datagrams of one byte each: `from`, `from + 1`, ... */
export function datagrams(from: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => Uint8Array.of(from + i));
}

/** Returns the number of abort listeners of `signal`. */
export function listenerCount(signal: AbortSignal): number {
  return getEventListeners(signal, "abort").length;
}

/** Records the order in which promises settle, with their values or error messages. */
export class Settled {
  readonly order: string[] = [];

  watch(name: string, promise: Promise<unknown>): void {
    promise.then(
      (value) => this.order.push(`${name} ${value}`),
      (error) => this.order.push(`${name} failed ${(error as Error)?.message ?? error}`),
    );
  }
}
