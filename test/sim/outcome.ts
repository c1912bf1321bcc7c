/** The state of a promise that a simulation started. */

import { isClosedError } from "../../lib/index.ts";
import { require } from "./violation.ts";

/** The state of a promise of an operation. */
export class Outcome<T> {
  value: T | undefined;
  error: unknown;
  isSettled = false;
  /** Fulfilled when the operation is settled in either way. */
  readonly settled: Promise<void>;

  /** Whether an ICMP error about an earlier datagram made it fail. */
  get isRefused(): boolean {
    return (this.error as { code?: unknown } | undefined)?.code === "ECONNREFUSED";
  }

  constructor(promise: Promise<T>) {
    this.settled = promise.then(
      (value) => {
        this.value = value;
        this.isSettled = true;
      },
      (error) => {
        this.error = error;
        this.isSettled = true;
      },
    );
  }

  /**
   * @throws Violation unless it was fulfilled, aborted, refused by an ICMP error, or its socket was
   * closed.
   */
  checkError(name: string): void {
    require(this.isSettled, () => `${name} is pending`);
    const isExpected =
      this.error === undefined ||
      isClosedError(this.error) ||
      this.isRefused ||
      (this.error instanceof DOMException && this.error.name === "TimeoutError");
    require(isExpected, () => `${name}: ${this.error}`);
  }
}
