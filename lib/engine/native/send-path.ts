/**
 * The sends of the native engine: what happens to a datagram that the system does not accept. It is
 * sent again, at once or later, or it is dropped, or refused.
 */

import type { SocketAddress } from "../../address/socket-address.ts";
import type { SendBatch } from "../../batch/send-batch.ts";
import type { BufferRange } from "../../batch/targets.ts";
import type { SocketCounters } from "../../datagram/counters.ts";
import type { Destinations } from "../../datagram/destination.ts";
import type { Payload, Sendable } from "../../datagram/payload.ts";
import { EAGAIN, EDESTADDRREQ, ENOBUFS } from "../../linux/constants.ts";
import { DeferredError } from "../../poll/deferred-error.ts";
import { Pending, type Poll, type Waker } from "../../poll/poll.ts";
import type { Interest } from "../../readiness/interest.ts";
import type { Reactor } from "../../readiness/reactor.ts";
import { closedError, errnoCode, SocketError } from "../../support/errors.ts";
import { RetryWindow } from "../retry-window.ts";
import { sendHint } from "../send-hints.ts";
import type { NativeSender } from "./native-sender.ts";
import { BatchSource, ListSource, type SendSource } from "./send-source.ts";
import type { SocketErrors } from "./socket-errors.ts";

/** The number of tries that ICMP errors may fail in one call, before the call waits. */
const ICMP_RETRIES_MAX = 8;
/**
 * How long a send waits while ICMP errors fail all of its tries. Only a flood of thousands per
 * second does that.
 */
const ICMP_FLOOD_MS = 1000;

const ONE: BufferRange = { start: 0, count: 1 };

/** The arguments of a `SendPath`. */
export interface SendPathInit {
  readonly sender: NativeSender;
  readonly errors: SocketErrors;
  readonly reactor: Reactor;
  /** The wait for room in the send buffer. */
  readonly interest: Interest;
  /** The connected peer. */
  readonly peer: SocketAddress | undefined;
  readonly isUnix: boolean;
  /** Whether refused datagrams are dropped (`sendErrors: "drop"`). */
  readonly dropsRefused: boolean;
  readonly counters: SocketCounters;
  readonly dropsByCode: Record<string, number>;
}

/** Sends on one socket, and handles the failures. */
export class SendPath {
  readonly #sender: NativeSender;
  readonly #listSource: ListSource;
  readonly #errors: SocketErrors;
  readonly #reactor: Reactor;
  readonly #interest: Interest;
  readonly #peer: SocketAddress | undefined;
  readonly #isUnix: boolean;
  readonly #dropsRefused: boolean;
  readonly #counters: SocketCounters;
  readonly #dropsByCode: Record<string, number>;
  readonly #noBuffers: RetryWindow = new RetryWindow();
  /** Limits how long a flood of ICMP errors is waited out. */
  readonly #icmpFlood: RetryWindow = new RetryWindow(ICMP_FLOOD_MS);
  /** The ICMP error that ended a batch early. */
  readonly #icmpError: DeferredError<SocketError> = new DeferredError();
  /** Whether the sender has drained the ICMP error that made its call fail. */
  #sawIcmpError = false;
  #isClosed = false;

  constructor(init: SendPathInit) {
    this.#sender = init.sender;
    this.#listSource = new ListSource(init.sender);
    this.#errors = init.errors;
    this.#reactor = init.reactor;
    this.#interest = init.interest;
    this.#peer = init.peer;
    this.#isUnix = init.isUnix;
    this.#dropsRefused = init.dropsRefused;
    this.#counters = init.counters;
    this.#dropsByCode = init.dropsByCode;
  }

  /** Whether GSO is in use. */
  get usesGso(): boolean {
    return this.#sender.usesGso;
  }

  /** Empties the error queue. Returns whether it had the ICMP error that made the sender's call fail. */
  sawIcmpError(): boolean {
    this.#sawIcmpError = this.#errors.drain().count > 0;
    return this.#sawIcmpError;
  }

  /** As `Engine.send`. */
  send(
    waker: Waker | null,
    bufs: readonly Sendable[],
    range: BufferRange,
    to: Destinations,
  ): Poll<number> {
    if (this.#isClosed) throw closedError("send");
    this.#sender.load(bufs, range, to);
    return this.#send(waker, this.#listSource);
  }

  /** As `Engine.sendOne`. */
  sendOne(waker: Waker | null, buf: Payload, to: SocketAddress | undefined): Poll<number> {
    const sender = this.#sender;
    sender.checkIdle();
    if (!this.#maySend(waker)) return Pending;
    const result = sender.sendOne(buf, to);
    if (result >= 0) {
      this.#recordSent(1);
      return 1;
    }
    sender.load([buf], ONE, to);
    return this.#sendAll(waker, this.#listSource, result);
  }

  /** As `Engine.sendBatch`. */
  sendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    return this.sendSource(waker, new BatchSource(batch));
  }

  /** Sends the datagrams of `source`, as `Engine.sendBatch`. */
  sendSource(waker: Waker | null, source: SendSource): Poll<number> {
    this.#sender.checkIdle();
    return this.#send(waker, source);
  }

  /** Forgets the descriptor. Later sends throw. */
  close(): void {
    this.#isClosed = true;
    this.#sender.close();
  }

  #send(waker: Waker | null, source: SendSource): Poll<number> {
    if (source.length === 0) return 0;
    return this.#maySend(waker) ? this.#sendAll(waker, source) : Pending;
  }

  /** Returns whether to make a system call now. If not, the reactor calls `waker`. */
  #maySend(waker: Waker | null): boolean {
    if (this.#isClosed) throw closedError("send");
    this.#icmpError.throwIfSet();
    return this.#reactor.mayRun(this.#interest, waker);
  }

  #recordSent(datagrams: number): void {
    this.#noBuffers.reset();
    this.#icmpFlood.reset();
    this.#reactor.recordDatagrams(this.#interest, datagrams);
  }

  /**
   * Sends the datagrams of `source`. Returns the number of those that were sent or dropped.
   *
   * @param firstResult the result of a first try with `sendto`, if there was one.
   */
  #sendAll(waker: Waker | null, source: SendSource, firstResult?: number): Poll<number> {
    const count = source.length;
    for (let retries = 0, first = firstResult; source.length > 0; first = undefined) {
      const syscall = first === undefined ? "sendmmsg" : "sendto";
      const result = first ?? source.send(this.#sender);
      if (result >= 0) {
        this.#recordSent(result);
        if (source.length > 0 && !this.#dropsRefused) {
          this.#deferIcmpError();
          break;
        }
        retries = 0;
        continue;
      }
      const outcome = this.#sendFailed(-result, source, waker, retries++);
      if (outcome === "retry") continue;
      if (outcome === "wait") return source.length < count ? count - source.length : Pending;
      if (outcome === "refused" && source.length < count) break;
      if (outcome === "refused") throw this.#sendError(-result, syscall, source);
    }
    return count - source.length;
  }

  /**
   * Handles a failed send. Returns "retry" if the datagram should be sent again, "wait" if the
   * reactor calls `waker`, "dropped" after the datagram was dropped, and "refused" otherwise.
   */
  #sendFailed(
    errno: number,
    source: SendSource,
    waker: Waker | null,
    retries: number,
  ): "retry" | "wait" | "dropped" | "refused" {
    if (errno === EAGAIN) return this.#wait(source, waker);
    if (errno === ENOBUFS && source.address === undefined) {
      // Only the connected peer is waited for: other destinations must not be delayed.
      const remainingMs = this.#noBuffers.remainingMs();
      if (remainingMs > 0) return this.#wait(source, waker, remainingMs);
    }
    // An ICMP error about an earlier datagram makes one call fail. The datagram was not sent, and
    // can be sent now.
    const isIcmp = this.#errors.isIcmpError(errno) || this.#sawIcmpError;
    this.#sawIcmpError = false;
    if (isIcmp && (this.#errors.hasHandler || this.#dropsRefused)) {
      if (retries < ICMP_RETRIES_MAX) return "retry";
      const remainingMs = this.#icmpFlood.remainingMs();
      if (remainingMs > 0) return this.#wait(source, waker, remainingMs);
    }
    if (!this.#dropsRefused || errno === EDESTADDRREQ) return "refused";
    const code = errnoCode(errno);
    this.#counters.sendDrops++;
    this.#dropsByCode[code] = (this.#dropsByCode[code] ?? 0) + 1;
    source.drop();
    return "dropped";
  }

  /** Calls `waker` when the socket has room: on an event, or after `remainingMs` at most. */
  #wait(source: SendSource, waker: Waker | null, remainingMs?: number): "wait" {
    this.#counters.sendWouldBlocks++;
    if (waker === null) return "wait";
    const interest = this.#interest;
    // The kernel reports no event when the queue of a device, or of a Unix peer that the socket is
    // not connected to, has room again.
    const hasEvent = remainingMs === undefined && (!this.#isUnix || source.address === undefined);
    if (hasEvent) this.#reactor.waitForDatagram(interest, waker);
    else this.#reactor.retryLater(interest, waker, remainingMs);
    return "wait";
  }

  #sendError(errno: number, syscall: string, { address, bytes }: SendSource): SocketError {
    this.#counters.sendErrors++;
    const hint =
      this.#isUnix && errno !== EDESTADDRREQ ? undefined : sendHint(errnoCode(errno), address);
    const detail = hint ?? `datagram of ${bytes} bytes`;
    return new SocketError({
      errno,
      syscall,
      address: address ?? this.#peer,
      detail,
    });
  }

  /**
   * Looks for the ICMP error that ended a batch early, which the kernel discards. The next call
   * throws it. A refused datagram is not in the queue: it fails again when it is sent again.
   */
  #deferIcmpError(): void {
    const { errno } = this.#errors.drain();
    if (errno === 0 || this.#errors.hasHandler) return;
    this.#counters.sendErrors++;
    this.#icmpError.set(new SocketError({ errno, syscall: "sendmmsg", address: this.#peer }));
  }
}
