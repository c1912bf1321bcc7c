/** Prints which step is running if it takes long. */

/** The part of `process.stderr` that is needed. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export interface ProgressOptions {
  readonly stream: ProgressStream;
  /** How long a step runs before it is printed. Default 1000. */
  readonly delayMs?: number;
}

/** The progress of a sequence of steps. */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #delayMs: number;

  constructor({ stream, delayMs = 1000 }: ProgressOptions) {
    this.#stream = stream;
    this.#delayMs = delayMs;
  }

  /**
   * Runs a step, and returns its result. Prints its name once it has run for `delayMs`. A terminal
   * shows it until the step ends.
   */
  async step<T>(name: string, run: () => Promise<T>): Promise<T> {
    let isPrinted = false;
    const isTerminal = this.#stream.isTTY === true;
    const timer = setTimeout(() => {
      isPrinted = true;
      this.#stream.write(`${name} ...${isTerminal ? "" : "\n"}`);
    }, this.#delayMs);
    try {
      return await run();
    } finally {
      clearTimeout(timer);
      // Carriage return, and "erase to the end of the line" (ECMA-48, EL).
      if (isPrinted && isTerminal) this.#stream.write("\r\x1b[K");
    }
  }
}
