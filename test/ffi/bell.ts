/** A reactor with its bell, as lib/readiness.ts makes one, but in the hands of a test. */

import { loadNative, type NativeReactor, type ReadinessMode } from "../../ffi/native.ts";
import { loadedNative } from "./tools.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;

/** Both ways to be told. */
export const MODES: readonly ReadinessMode[] = ["io_uring", "thread"];

/** Why a way cannot be had on this machine. */
export async function modeMissing(mode: ReadinessMode): Promise<string | undefined> {
  const loaded = loadNative();
  if ("reason" in loaded) return loaded.reason;
  try {
    (await Bell.open(mode)).end();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** Waits for the bell, and takes what is ready as the library does: on a ring, until not full. */
export class Bell {
  readonly kernel: NativeReactor;
  /** Events by token, of all that was reported. */
  readonly reported: Map<number, number> = new Map();
  /** How often each token was reported. */
  readonly times: Map<number, number> = new Map();
  rings = 0;
  #socket: { end(): void } | undefined;
  #wake: () => void = () => {};

  private constructor(kernel: NativeReactor) {
    this.kernel = kernel;
  }

  static async open(mode: ReadinessMode): Promise<Bell> {
    const native = loadedNative();
    const result = native.pair(AF_UNIX, SOCK_STREAM);
    if (result < 0) throw new Error(`socketpair expected 0, got ${result}`);
    const [rung, heard] = [native.scratch[0] as number, native.scratch[1] as number];
    const bell = new Bell(native.reactor());
    const opened = bell.kernel.open(mode, rung);
    if (opened < 0) {
      native.close(rung);
      native.close(heard);
      throw new Error(`${mode} expected 0, got ${opened}`);
    }
    const connect = Bun.connect as unknown as (options: object) => Promise<{ end(): void }>;
    const data = () => bell.#onRing();
    bell.#socket = await connect({
      fd: heard,
      socket: { data, open() {}, close() {}, error() {} },
    });
    return bell;
  }

  /** Stops hearing; the reactor goes when it is collected. */
  end(): void {
    this.#socket?.end();
  }

  /** Takes what is ready. */
  reap(): void {
    for (;;) {
      const count = this.kernel.reap();
      if (count < 0) throw new Error(`reap expected 0 or more, got ${count}`);
      for (let i = 0; i < count; i++) {
        const token = this.kernel.tokenAt(i);
        this.reported.set(token, this.kernel.eventsAt(i));
        this.times.set(token, (this.times.get(token) ?? 0) + 1);
      }
      if (!this.kernel.isFull(count)) return;
    }
  }

  /** Waits until `isTrue`, which is asked after each ring. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #onRing(): void {
    this.rings++;
    this.reap();
    this.#wake();
  }
}
