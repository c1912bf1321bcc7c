/** The records of a simulation: counts, the latest events, and a digest of all of them. */

import {
  EVENT_KINDS,
  LOSS_REASONS,
  type LossReason,
  type SimDatagram,
  SimEvent,
  type SimEventKind,
} from "./event.ts";

/**
 * What a network did with its datagrams. Every copy is in exactly one place:
 * `sent + duplicated === received + waiting + inFlight + lostTotal`.
 */
export interface SimReport {
  /** Datagrams that sockets accepted. */
  readonly sent: number;
  /** Copies that the network made. */
  readonly duplicated: number;
  /** Copies that the code under test received. */
  readonly received: number;
  /** Copies in the receive queues of sockets. */
  readonly waiting: number;
  /** Copies on a link. */
  readonly inFlight: number;
  /** Copies that were lost, by reason. */
  readonly lost: Readonly<Record<LossReason, number>>;
  /** The sum of `lost`. */
  readonly lostTotal: number;
  /** ICMP errors that reached the sender of the datagram. */
  readonly icmpErrors: number;
  /** ICMP errors that did not: lost, or their socket was closed. */
  readonly icmpErrorsLost: number;
}

/** Records the events of a network. */
export class Journal {
  /** Called with each event. */
  readonly observers: Set<(event: SimEvent) => void> = new Set();
  readonly #counts: Record<SimEventKind, number> = {
    send: 0,
    duplicate: 0,
    deliver: 0,
    receive: 0,
    lose: 0,
    icmp: 0,
  };
  readonly #lost = Object.fromEntries(LOSS_REASONS.map((reason) => [reason, 0])) as Record<
    LossReason,
    number
  >;
  readonly #traceMax: number;
  readonly #trace: SimEvent[] = [];
  readonly #clock: { readonly now: number };
  readonly #time = new Float64Array(1);
  readonly #timeWords = new Int32Array(this.#time.buffer);
  #digest = 0;
  /** Copies that were lost after they had been delivered: their socket was closed. */
  #lostFromQueues = 0;
  #failure: { readonly error: unknown } | undefined;
  /** ICMP errors that did not reach a socket. */
  icmpErrorsLost = 0;

  constructor(clock: { readonly now: number }, traceMax: number) {
    this.#clock = clock;
    this.#traceMax = traceMax;
  }

  /** Records an event. */
  record(
    kind: SimEventKind,
    datagram: SimDatagram,
    socket?: SimEvent["socket"],
    detail?: string,
  ): void {
    this.#counts[kind]++;
    this.#mix(EVENT_KINDS.indexOf(kind), datagram);
    if (this.#traceMax === 0 && this.observers.size === 0) return;
    const event = new SimEvent(this.#clock.now, kind, datagram, socket, detail);
    if (this.#traceMax > 0) this.#trace.push(event);
    // Amortized: the array is shortened when it is twice as long as necessary.
    if (this.#trace.length >= 2 * this.#traceMax) {
      this.#trace.splice(0, this.#trace.length - this.#traceMax);
    }
    for (const observer of this.observers) {
      try {
        observer(event);
      } catch (error) {
        // Thrown by the run: here it would reach the code under test.
        this.#failure ??= { error };
      }
    }
  }

  /** Records the loss of a copy. `"closed"`: it was in the receive queue of a socket. */
  lose(reason: LossReason, datagram: SimDatagram): void {
    this.#lost[reason]++;
    if (reason === "closed") this.#lostFromQueues++;
    this.record("lose", datagram, undefined, reason);
  }

  /** Throws the first error that an observer has thrown, once. */
  throwIfFailed(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
  }

  /** The latest events, oldest first. */
  get trace(): readonly SimEvent[] {
    return this.#traceMax === 0 ? [] : this.#trace.slice(-this.#traceMax);
  }

  /** A 32-bit digest of all events so far: kinds, times, datagrams and payloads. */
  get digest(): number {
    return this.#digest >>> 0;
  }

  get report(): SimReport {
    const { send: sent, duplicate: duplicated, deliver, receive: received, lose } = this.#counts;
    return {
      sent,
      duplicated,
      received,
      waiting: deliver - received - this.#lostFromQueues,
      inFlight: sent + duplicated - deliver - (lose - this.#lostFromQueues),
      lost: { ...this.#lost },
      lostTotal: lose,
      icmpErrors: this.#counts.icmp,
      icmpErrorsLost: this.icmpErrorsLost,
    };
  }

  #mix(kind: number, { id, payload }: SimDatagram): void {
    this.#time[0] = this.#clock.now;
    let digest = Math.imul(this.#digest ^ kind, 0x9e37_79b1) ^ id;
    digest = Math.imul(digest ^ (digest >>> 15) ^ (this.#timeWords[0] as number), 0x85eb_ca6b);
    digest = Math.imul(digest ^ (digest >>> 13) ^ (this.#timeWords[1] as number), 0xc2b2_ae35);
    // A payload is never modified, so once is enough.
    if (kind === 0) digest ^= Bun.hash.crc32(payload);
    this.#digest = digest ^ (digest >>> 16);
  }
}
