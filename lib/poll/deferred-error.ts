/** An error that is reported by the next call. */

/**
 * Holds the error that ended a batch early, after some of its datagrams were transferred. The call
 * returns the partial count, and the next call reports the error, once.
 */
export class DeferredError<T = unknown> {
  #error: T | undefined;

  /** Whether an error is stored. */
  get isSet(): boolean {
    return this.#error !== undefined;
  }

  /** Stores `error`, replacing one that was not reported yet. */
  set(error: T): void {
    this.#error = error;
  }

  /** Returns the stored error, if any, and clears it. */
  take(): T | undefined {
    const error = this.#error;
    this.#error = undefined;
    return error;
  }

  /** Throws the stored error, if any, and clears it. */
  throwIfSet(): void {
    const error = this.take();
    if (error !== undefined) throw error;
  }
}
