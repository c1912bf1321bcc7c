/** The state of one direction of a socket in the reactor. */

import { callWaker, type Waker } from "../poll/poll.ts";

/**
 * - `idle`: the reactor does nothing. Either there is no waiter, or a timer calls it.
 * - `armed`: the kernel reports when the socket is ready.
 * - `spinning`: the waker is called in the next tick of the event loop.
 * - `delayed`: the waker is called after `burstDelayUs`.
 */
export type InterestState = "idle" | "armed" | "spinning" | "delayed";

/** The delay of the first retry without a readiness event; doubled up to the maximum. */
export const RETRY_MIN_MS = 1;
export const RETRY_MAX_MS = 16;

/** One direction of one socket. All fields belong to the reactor, except the first two variables. */
export class Interest {
  /** The events to wait for (poll(2)); 0: errors only. */
  readonly events: number;
  /** The index in the reactor's table. */
  readonly slot: number;
  /** The descriptor registered with epoll: the socket, or a duplicate of it. -1 when removed. */
  fd: number;
  /**
   * Whether the error queue may have an entry: the kernel has reported one (EPOLLERR), or was not
   * asked. Cleared by the owner of the socket when it reads the queue.
   */
  mayHaveError = false;
  /** How long to wait after a burst, set by the owner of the socket. 0: the next datagram wakes. */
  burstDelayUs = 0;
  state: InterestState = "idle";
  /** Called when the operation should be retried. */
  waker: Waker | null = null;
  /** Identifies the latest arming: events of earlier ones are ignored. */
  token = 0;
  /** The number of events in a row without a datagram. Counted here, reset by a transfer. */
  emptyEvents = 0;
  /** When the current wait began, or was armed; 0 if there is none. */
  waitSinceMs = 0;
  /** Whether the latest waits were short enough to spin. */
  hasShortWaits = false;
  /** The number of datagrams transferred in tick `tick`. */
  tick = 0;
  datagramsInTick = 0;
  /** The number of datagrams transferred since the latest wait began. */
  datagramsSinceWait = 0;
  retryDelayMs: number = RETRY_MIN_MS;

  constructor(slot: number, fd: number, events: number) {
    this.slot = slot;
    this.fd = fd;
    this.events = events;
  }

  /** Returns the waker and clears it. */
  takeWaker(): Waker | null {
    const waker = this.waker;
    this.waker = null;
    return waker;
  }

  /** Calls the waker, if any, and clears it. */
  wake(): void {
    const waker = this.takeWaker();
    if (waker !== null) callWaker(waker);
  }
}

/** The interests of one descriptor. */
export interface Registration {
  readonly read: Interest;
  readonly write: Interest;
  /** Errors only, which the kernel reports whatever events are requested. */
  readonly error: Interest;
}
