/** Releases memory that is kept for the next call, once there has been no call for a while. */

import { startTimer } from "./timers.ts";

/**
 * The time without use after which a resource is released, at least; at most, twice the time. While
 * any resource is in use, a timer fires once in that time.
 */
export const IDLE_MS = 20;

/** The resources of this thread that have something to release. */
let held: IdleResource[] = [];
let isTimerStarted = false;

/** The owner of a resource. A method instead of a function for each, which would have 70 bytes. */
export interface IdleOwner {
  /** @internal Called when the resource has not been used for a while. */
  _releaseIdle(): void;
}

/** Something that is kept while it is used. */
export class IdleResource {
  readonly #owner: IdleOwner;
  #isHeld = false;
  #isUsed = false;

  constructor(owner: IdleOwner) {
    this.#owner = owner;
  }

  /** Records a use. Takes 2 ns. */
  use(): void {
    this.#isUsed = true;
    if (!this.#isHeld) this.#hold();
  }

  #hold(): void {
    this.#isHeld = true;
    held.push(this);
    if (!isTimerStarted) startSweep();
  }

  /** Releases the resource unless it has been used since the last call. Returns whether it was. */
  sweep(): boolean {
    if (this.#isUsed) {
      this.#isUsed = false;
      return true;
    }
    this.#isHeld = false;
    this.#owner._releaseIdle();
    return false;
  }
}

function startSweep(): void {
  isTimerStarted = true;
  startTimer(IDLE_MS, sweep);
}

function sweep(): void {
  isTimerStarted = false;
  held = held.filter((resource) => resource.sweep());
  if (held.length > 0 && !isTimerStarted) startSweep();
}
