/** What is waited for: one direction of one socket, and who waits for it. */

import { callWaker, type Waker } from "../traits/poll.ts";

/** How long after a failed try comes the next, where the kernel tells nobody: doubled each time. */
const RETRY_MIN_MS = 1;
const RETRY_MAX_MS = 16;

/** What decides when an interest is worth another try (lib/readiness/reactor.ts). */
export interface Scheduler {
  mayRun(interest: Interest, waker: Waker): boolean;
  moved(interest: Interest, count: number): void;
  wait(interest: Interest, waker: Waker): void;
}

/** One direction of one socket. */
export class Interest {
  readonly #scheduler: Scheduler;
  /** `<poll.h>` events that it waits for; 0: errors alone. */
  readonly events: number;
  /** Its place in the reactor's table. */
  readonly slot: number;
  /** What the kernel is asked about; `-1` before and after. */
  fd: number;
  /** Whether the kernel last said that an error is queued. */
  sawError = false;

  // What follows is the scheduler's.

  /** Called when it is worth another try. */
  waker: Waker | null = null;
  /** Whether it is tried again at every turn. */
  isHot = false;
  /** Whether the kernel tells when it is ready, by `token`; once told to, it knows the descriptor. */
  isArmed = false;
  isKnown = false;
  token = 0;
  parkedAtMs = 0;
  emptySinceMs = 0;
  /** Whether its waits have been short lately. */
  spins = false;
  /** Datagrams moved in turn `turn`. */
  turn = 0;
  movedInTurn = 0;
  /** Whether anything moved since this was last set to false. */
  hasMoved = false;

  #retryMs = RETRY_MIN_MS;

  constructor(scheduler: Scheduler, slot: number, fd: number, events: number) {
    this.#scheduler = scheduler;
    this.slot = slot;
    this.fd = fd;
    this.events = events;
  }

  /** Whether the turn's budget allows another try; if not, `waker` is called in the next turn. */
  mayRun(waker: Waker | null): boolean {
    return waker === null || this.#scheduler.mayRun(this, waker);
  }

  /** Tells that `count` datagrams moved. */
  moved(count: number): void {
    this.#retryMs = RETRY_MIN_MS;
    this.#scheduler.moved(this, count);
  }

  /** Has `waker` called when it is worth another try, after the kernel said would-block. */
  wait(waker: Waker): void {
    this.#scheduler.wait(this, waker);
  }

  /** Has `waker` called a little later, when the kernel will not tell (`ENOBUFS`, `EMFILE`). */
  retryLater(waker: Waker): void {
    this.waker = waker;
    const delayMs = this.#retryMs;
    this.#retryMs = Math.min(2 * delayMs, RETRY_MAX_MS);
    // What keeps the process alive is the socket, as long as it does.
    setTimeout(() => this.wake(), delayMs).unref();
  }

  /** Hands the kept waker out; the interest has none afterwards. */
  takeWaker(): Waker | null {
    const waker = this.waker;
    this.waker = null;
    return waker;
  }

  /** Calls the waker that is kept, if there is one. */
  wake(): void {
    const waker = this.takeWaker();
    if (waker !== null) callWaker(waker);
  }
}

/** A descriptor's place in the reactor. */
export interface Registration {
  readonly read: Interest;
  readonly write: Interest;
  /** Told of errors alone, which the kernel reports to whoever asks for nothing. */
  readonly error: Interest;
}
