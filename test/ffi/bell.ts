/** A reactor with its bell, as lib/readiness/ makes one, but in the hands of a test. */

import { loadNative, type NativeReactor } from "../../ffi/native.ts";
import { openBell, type ReadinessMode } from "../../lib/readiness/bell.ts";
import { openDescriptors } from "../tools/sockets.ts";
import { loadedNative } from "./tools.ts";

/** Both ways to be told. */
export const MODES: readonly ReadinessMode[] = ["loop", "thread"];

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
  #close: () => void = () => {};
  #wake: () => void = () => {};

  private constructor(kernel: NativeReactor) {
    this.kernel = kernel;
  }

  static async open(mode: ReadinessMode): Promise<Bell> {
    const native = loadedNative();
    const bell = new Bell(native.reactor());
    const opened = await openBell(native, bell.kernel, mode, () => bell.#onRing());
    bell.#close = () => opened.close();
    return bell;
  }

  /** Stops hearing; the reactor goes when it is collected. */
  end(): void {
    this.#close();
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

/** Collects until no more than `count` descriptors are open, for two seconds at most. */
export async function settled(count: number): Promise<void> {
  const deadlineMs = performance.now() + 2000;
  do {
    Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 5));
  } while (openDescriptors() > count && performance.now() < deadlineMs);
}
