/** The ICMP errors of one native socket: they are counted, and passed to the handler. */

import type { SocketCounters } from "../../datagram/counters.ts";
import {
  type DrainedErrors,
  type ErrorQueue,
  isIcmpErrno,
  type TransportErrorHandler,
} from "../../linux/error-queue.ts";
import type { Registration } from "../../readiness/interest.ts";
import type { Reactor } from "../../readiness/reactor.ts";

/** The arguments of `SocketErrors`. */
export interface SocketErrorsInit {
  /** Absent for a Unix socket, which has no ICMP errors. */
  readonly queue: ErrorQueue | undefined;
  readonly reactor: Reactor;
  readonly registration: Registration;
  readonly counters: SocketCounters;
}

const NONE: DrainedErrors = { count: 0, errno: 0 };

/** Reads the error queue of a socket when its sends or receives fail, or when the kernel reports it. */
export class SocketErrors {
  readonly #queue: ErrorQueue | undefined;
  readonly #reactor: Reactor;
  readonly #registration: Registration;
  readonly #counters: SocketCounters;
  #isClosed = false;

  constructor({ queue, reactor, registration, counters }: SocketErrorsInit) {
    this.#queue = queue;
    this.#reactor = reactor;
    this.#registration = registration;
    this.#counters = counters;
  }

  /** Whether a handler gets the errors, so that no call throws them. */
  get hasHandler(): boolean {
    return this.#queue?.hasHandler === true;
  }

  /** Sets the handler, or removes it. */
  setHandler(handler: TransportErrorHandler | undefined): void {
    this.#queue?.setHandler(handler);
    if (handler !== undefined) this.#reactor.wait(this.#registration.error, this.#onQueued);
  }

  /** Empties the error queue, and counts its entries. */
  drain(): DrainedErrors {
    if (this.#queue === undefined) return NONE;
    const { read, error } = this.#registration;
    read.mayHaveError = false;
    const drained = this.#queue.drain();
    this.#counters.transportErrors += drained.count;
    if (drained.count > 0) read.emptyEvents = error.emptyEvents = 0;
    return drained;
  }

  /** Empties the error queue. Returns whether an ICMP error made a call fail with `errno`. */
  isIcmpError(errno: number): boolean {
    return this.drain().count > 0 || (this.#queue !== undefined && isIcmpErrno(errno));
  }

  /** Forgets the descriptor, and the handler. */
  close(): void {
    this.#isClosed = true;
    this.#queue?.close();
  }

  readonly #onQueued = () => {
    if (this.#isClosed || !this.hasHandler) return;
    this.drain();
    this.#reactor.waitForDatagram(this.#registration.error, this.#onQueued);
  };
}
