/** A poller and its notifier, as lib/readiness/ creates them, under the control of a test. */

import { loadNative, type Poller } from "../../ffi/native.ts";
import { openLoopNotifier } from "../../lib/readiness/loop-notifier.ts";
import type { ReadinessMode } from "../../lib/readiness/notifier.ts";
import { openThreadNotifier } from "../../lib/readiness/thread-notifier.ts";
import { openDescriptors } from "../tools/sockets.ts";
import { loadedNative } from "./tools.ts";

/** All modes. */
export const MODES: readonly ReadinessMode[] = ["loop", "thread"];

/** Returns why a mode does not work on this machine; `undefined` if it does. */
export async function modeMissing(mode: ReadinessMode): Promise<string | undefined> {
  const loaded = loadNative();
  if ("reason" in loaded) return loaded.reason;
  try {
    (await NotifiedPoller.open(mode)).end();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** Collects the ready descriptors of a poller at each notification, as the reactor does. */
export class NotifiedPoller {
  readonly poller: Poller;
  /** The latest events of each token. */
  readonly reported: Map<number, number> = new Map();
  /** The number of events of each token. */
  readonly times: Map<number, number> = new Map();
  /** The number of calls by the notifier. */
  notifications = 0;
  #close: () => void = () => {};
  #wake: () => void = () => {};

  private constructor(poller: Poller) {
    this.poller = poller;
  }

  /** Opens a poller and its notifier. */
  static async open(mode: ReadinessMode): Promise<NotifiedPoller> {
    const native = loadedNative();
    const notified = new NotifiedPoller(native.poller());
    const openNotifier = mode === "loop" ? openLoopNotifier : openThreadNotifier;
    const opened = await openNotifier(native, notified.poller, () => notified.#onNotify());
    notified.#close = () => opened.close();
    return notified;
  }

  /** Closes the notifier. The poller is closed when it is garbage-collected. */
  end(): void {
    this.#close();
  }

  /** Takes the events of all ready descriptors. */
  collect(): void {
    for (;;) {
      const count = this.poller.wait();
      if (count < 0) throw new Error(`wait expected 0 or more, got ${count}`);
      for (let i = 0; i < count; i++) {
        const token = this.poller.tokenAt(i);
        this.reported.set(token, this.poller.eventsAt(i));
        this.times.set(token, (this.times.get(token) ?? 0) + 1);
      }
      if (!this.poller.isFull(count)) return;
    }
  }

  /** Waits until `isTrue` returns true. It is called first, and after each notification. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #onNotify(): void {
    this.notifications++;
    this.collect();
    this.#wake();
  }
}

/** Collects garbage until at most `count` descriptors are open, for up to two seconds. */
export async function settled(count: number): Promise<void> {
  const deadlineMs = performance.now() + 2000;
  do {
    Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 5));
  } while (openDescriptors() > count && performance.now() < deadlineMs);
}
