/**
 * Readiness: decides when an operation that could not proceed is retried. One reactor per thread
 * serves all native sockets.
 *
 * A socket is tried first. If it would block, its interest (interest.ts) is
 *
 * - *spinning*: retried in every tick of the event loop (`setImmediate`). Costs an empty system
 *   call per tick and responds within microseconds;
 * - *armed*: registered with epoll, so that the thread can sleep. Costs nothing while idle; or
 * - *delayed*: retried after some time, if its owner wants that, and it receives bursts
 *   (burst-delays.ts).
 *
 * An interest spins for up to `SPIN_MS` after its last datagram if its latest waits were that
 * short, as in a ping-pong exchange. Otherwise it is armed at once. docs/readiness.md explains how
 * an epoll event reaches the thread.
 *
 * Fairness: in one tick, a socket may transfer `SOCKET_DATAGRAMS_PER_TICK` datagrams, and all
 * sockets together may use `TICK_MS`. After that they continue in the next tick, so that timers
 * and other sockets are served in between.
 */

import type { Native, Poller } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/sockaddr.ts";
import { POLLERR, POLLIN, POLLOUT, SOCK_STREAM } from "../linux/constants.ts";
import type { Waker } from "../poll/poll.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { nowMs, setImmediate, startTimer } from "../support/timers.ts";
import { BurstDelays } from "./burst-delays.ts";
import { Interest, RETRY_MAX_MS, RETRY_MIN_MS, type Registration } from "./interest.ts";
import { openLoopNotifier } from "./loop-notifier.ts";
import { type Notifier, type ReadinessMode, within } from "./notifier.ts";
import { openThreadNotifier } from "./thread-notifier.ts";

/** How long a socket without datagrams spins before it is armed. */
const SPIN_MS = 0.1;
/** The maximum number of spinning interests. Others are armed at once. */
const SPINNING_MAX = 64;
/** The number of datagrams that one direction of a socket may transfer in a tick. */
const SOCKET_DATAGRAMS_PER_TICK = 2048;
/** Up to this number of datagrams no tick is scheduled to reset the budget: not worth it. */
const UNBUDGETED_DATAGRAMS = 8;
/** The time that all sockets together may use in a tick. */
const TICK_MS = 1;
/** The number of events in a row without a datagram after which a socket is retried by a timer. */
const EMPTY_EVENTS_MAX = 16;
/** How long the probe waits for a notification. */
const PROBE_TIMEOUT_MS = 250;
/** The probe waits for two: a loop that stops watching after its first error would pass with one. */
const PROBE_NOTIFICATIONS = 2;

/** A token has 20 bits for the slot. */
const SLOTS_MAX = 2 ** 20;

/** The token of the poller's timer. Those of interests are larger. */
const TIMER_TOKEN = 0;

/** The number of interests of a registration. Their slots are adjacent. */
const INTERESTS = 3;

/** The readiness of all sockets of a thread. */
export class Reactor {
  readonly mode: ReadinessMode;
  readonly #native: Native;
  readonly #poller: Poller;
  readonly #delays: BurstDelays;
  readonly #interests: (Interest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  #notifier: Notifier | undefined;
  #generation = 0;
  #refs = 0;

  #armedCount = 0;
  #lastArmed: Interest | undefined;

  /** The interests to wake in the next tick, and the list that the current tick works through. */
  #spinning: Interest[] = [];
  #waking: Interest[] = [];
  #tick = 1;
  #tickStartMs = 0;
  #isTickScheduled = false;
  readonly #onTick = () => this.#runTick();
  /** Datagrams transferred since the reactor was created. */
  #datagrams = 0;

  private constructor(native: Native, mode: ReadinessMode) {
    this.#native = native;
    this.#poller = native.poller();
    this.#delays = new BurstDelays(this.#poller);
    this.mode = mode;
  }

  /**
   * Creates a reactor and waits for a first notification, as a probe.
   *
   * @throws SocketError or Error if the mode does not work.
   */
  static async create(native: Native, mode: ReadinessMode): Promise<Reactor> {
    const reactor = new Reactor(native, mode);
    const open = mode === "loop" ? openLoopNotifier : openThreadNotifier;
    const notifier = await open(native, reactor.#poller, () => reactor.#onNotify());
    reactor.#notifier = notifier;
    notifier.unref();
    try {
      await reactor.#probe();
    } catch (error) {
      notifier.close();
      throw error;
    }
    return reactor;
  }

  /** Adds an open descriptor. Its owner closes it, after `remove`. */
  add(fd: number): Registration {
    const slot = this.#freeSlots.pop() ?? this.#interests.length;
    if (slot + INTERESTS >= SLOTS_MAX) {
      throw new SocketError({ errno: 0, code: "EMFILE", syscall: "socket" });
    }
    const read = new Interest(slot, fd, POLLIN);
    const write = new Interest(slot + 1, fd, POLLOUT);
    const error = new Interest(slot + 2, fd, 0);
    this.#interests[slot] = read;
    this.#interests[slot + 1] = write;
    this.#interests[slot + 2] = error;
    return { read, write, error };
  }

  /** Returns whether a socket of this thread has that descriptor. */
  has(fd: number): boolean {
    return this.#interests.some((interest) => interest?.fd === fd);
  }

  /** Removes a descriptor. Neither the kernel nor the reactor refers to it afterwards. */
  remove({ read, write, error }: Registration): void {
    const { fd } = read;
    this.#poller.remove(fd);
    this.#cancelDelay(read);
    for (const interest of [read, write, error]) {
      this.#markDisarmed(interest);
      interest.waker = null;
      this.#interests[interest.slot] = undefined;
      if (interest.fd !== fd) {
        this.#poller.remove(interest.fd);
        this.#native.close(interest.fd);
      }
      interest.fd = -1;
    }
    this.#freeSlots.push(read.slot);
  }

  /** Keeps the process alive until `unref` has been called as often. */
  ref(): void {
    if (this.#refs++ === 0) this.#notifier?.ref();
  }

  unref(): void {
    if (--this.#refs === 0) this.#notifier?.unref();
  }

  // ---------------------------------------------------------------- calls of the sockets ----

  /** Returns whether the budget of this tick allows a try. If not, wakes in the next tick. */
  mayRun(interest: Interest, waker: Waker | null): boolean {
    if (waker === null) return true;
    if (interest.tick !== this.#tick) {
      interest.tick = this.#tick;
      interest.datagramsInTick = 0;
    }
    if (interest.datagramsInTick < SOCKET_DATAGRAMS_PER_TICK && !this.#isOverTime()) return true;
    interest.waker = waker;
    this.#spin(interest);
    return false;
  }

  /** Records that `count` datagrams were transferred. */
  recordDatagrams(interest: Interest, count: number): void {
    this.#datagrams += count;
    interest.emptyEvents = 0;
    interest.retryDelayMs = RETRY_MIN_MS;
    interest.datagramsInTick += count;
    interest.datagramsSinceWait += count;
    interest.waitSinceMs = 0;
    if (interest.datagramsInTick > UNBUDGETED_DATAGRAMS) this.#scheduleTick();
  }

  /** Calls `waker` when the socket should be retried, after a system call would have blocked. */
  wait(interest: Interest, waker: Waker): void {
    interest.waker = waker;
    if (interest.state === "spinning" || interest.state === "delayed") return;
    const now = nowMs();
    if (this.#delays.delay(interest, now)) {
      if (interest.state === "armed") this.#disarm(interest);
      interest.state = "delayed";
      return;
    }
    if (interest.waitSinceMs === 0) interest.waitSinceMs = now;
    const waitedMs = now - interest.waitSinceMs;
    // Only readers spin: a failed send costs far more than an empty receive.
    const mayBeShort = interest.events === POLLIN && interest.hasShortWaits && waitedMs <= SPIN_MS;
    if (mayBeShort && this.#spinning.length < SPINNING_MAX) {
      this.#spin(interest);
    } else {
      if (waitedMs > SPIN_MS) interest.hasShortWaits = false;
      interest.waitSinceMs = now;
      this.#arm(interest, waker);
    }
  }

  /** Calls `waker` after a short delay, where the kernel reports no event (ENOBUFS, EMFILE). */
  retryLater(interest: Interest, waker: Waker, delayMsMax: number = RETRY_MAX_MS): void {
    interest.waker = waker;
    const delayMs = Math.min(interest.retryDelayMs, delayMsMax);
    interest.retryDelayMs = Math.min(2 * interest.retryDelayMs, RETRY_MAX_MS);
    // Unreferenced: a socket keeps the process alive by itself, if it is meant to.
    startTimer(delayMs, () => {
      // An event that found no datagram may have been about an error: `#onNotify` does not always ask
      // for its kind.
      interest.mayHaveError = true;
      interest.wake();
    });
  }

  /**
   * Waits as `wait` does, for a caller that resets `emptyEvents` when it transfers a datagram. After
   * many events without one, the socket is retried by a timer: it is always ready and has nothing,
   * because its receive side was shut down through a shared descriptor (shutdown(2)).
   */
  waitForDatagram(interest: Interest, waker: Waker): void {
    if (interest.emptyEvents <= EMPTY_EVENTS_MAX) {
      this.wait(interest, waker);
      return;
    }
    if (interest.state === "armed") this.#disarm(interest);
    this.retryLater(interest, waker);
  }

  // ------------------------------------------------------------------------------- ticks ----

  #isOverTime(): boolean {
    return this.#isTickScheduled && nowMs() - this.#tickStartMs > TICK_MS;
  }

  #spin(interest: Interest): void {
    if (interest.state !== "spinning") {
      // A spinning interest needs no events.
      if (interest.state === "armed") this.#disarm(interest);
      this.#cancelDelay(interest);
      interest.state = "spinning";
      this.#spinning.push(interest);
    }
    this.#scheduleTick();
  }

  #cancelDelay(interest: Interest): void {
    if (interest.state !== "delayed") return;
    interest.state = "idle";
    this.#delays.remove(interest);
  }

  #scheduleTick(): void {
    if (this.#isTickScheduled) return;
    this.#isTickScheduled = true;
    this.#tickStartMs = nowMs();
    const immediate = setImmediate(this.#onTick);
    if (this.#refs === 0) immediate.unref();
  }

  #runTick(): void {
    this.#isTickScheduled = false;
    this.#tick++;
    const waking = this.#spinning;
    this.#spinning = this.#waking;
    this.#waking = waking;
    let woken = 0;
    // When the time is used up, every further interest would only be deferred again.
    while (woken < waking.length && !this.#isOverTime()) {
      const interest = waking[woken++] as Interest;
      if (interest.state === "spinning") interest.state = "idle";
      interest.wake();
    }
    if (woken < waking.length) this.#requeue(waking, woken);
    else waking.length = 0;
  }

  /** Puts the interests of `waking` from `start` on before those that began to spin meanwhile. */
  #requeue(waking: Interest[], start: number): void {
    const added = this.#spinning;
    waking.copyWithin(0, start);
    waking.length -= start;
    for (const interest of added) waking.push(interest);
    added.length = 0;
    this.#spinning = waking;
    this.#waking = added;
  }

  // ------------------------------------------------------------------------------- epoll ----

  /**
   * Registers the interest with epoll. If that fails (ENOMEM, ENOSPC: the limit of watches of the
   * user), retries the operation by a timer.
   *
   * In "loop" mode a reader stays armed from one datagram to the next, which saves a system call
   * for each: a socket that is empty again before the thread sleeps is not reported.
   */
  #arm(interest: Interest, waker: Waker): void {
    if (interest.state === "armed") return;
    if (interest.events !== POLLIN && !this.#useOwnDescriptor(interest)) {
      // Out of descriptors. Arming the reader's descriptor would replace the reader's events.
      this.retryLater(interest, waker);
      return;
    }
    this.#generation = (this.#generation + 1) % 2 ** 31;
    interest.token = this.#generation * 2 ** 20 + interest.slot + 1;
    const { fd, events, token } = interest;
    if (this.#poller.arm(fd, events, token, this.#isOneShot(interest)) < 0) {
      this.retryLater(interest, waker);
      return;
    }
    interest.state = "armed";
    this.#armedCount++;
    this.#lastArmed = interest;
  }

  #isOneShot(interest: Interest): boolean {
    return this.mode === "thread" || interest.events !== POLLIN;
  }

  /** Stops events. The descriptor stays registered, so that arming it again is one call. */
  #disarm(interest: Interest): void {
    this.#markDisarmed(interest);
    this.#poller.arm(interest.fd, 0, interest.token, true);
  }

  #markDisarmed(interest: Interest): void {
    if (interest.state !== "armed") return;
    interest.state = "idle";
    this.#armedCount--;
  }

  /**
   * epoll has one registration per descriptor, and the interests of a socket are armed separately:
   * all but the reader need a duplicate. Returns whether the interest has one.
   */
  #useOwnDescriptor(interest: Interest): boolean {
    const read = this.#interests[interest.slot - (interest.slot % INTERESTS)];
    if (read === undefined || interest.fd !== read.fd) return true;
    const duplicate = this.#native.duplicate(interest.fd);
    if (duplicate < 0) return false;
    interest.fd = duplicate;
    return true;
  }

  #onNotify(): void {
    const only = this.#lastArmed;
    const isOnlyArmed =
      this.#armedCount === 1 && only?.state === "armed" && !this.#delays.isPending;
    if (isOnlyArmed && only.waker !== null && !this.#isOneShot(only)) {
      // No other interest can be ready. If it receives a datagram, `wait` has nothing to add.
      const before = this.#datagrams;
      this.#onReady(only);
      if (this.#datagrams !== before) return;
    }
    for (;;) {
      const count = this.#poller.wait();
      for (let i = 0; i < count; i++) {
        this.#onEvent(this.#poller.tokenAt(i), this.#poller.eventsAt(i));
      }
      if (!this.#poller.isFull(count)) return;
    }
  }

  #onEvent(token: number, events: number): void {
    if (token === TIMER_TOKEN) {
      this.#delays.wake();
      return;
    }
    const interest = this.#interests[(token % SLOTS_MAX) - 1];
    // The event is stale if the interest was removed, disarmed, or armed again meanwhile.
    if (interest === undefined || interest.token !== token || interest.state !== "armed") return;
    if (this.#isOneShot(interest)) this.#markDisarmed(interest);
    if ((events & POLLERR) !== 0) interest.mayHaveError = true;
    // Without a waiter the event would be reported in every tick.
    if (interest.waker === null && interest.state === "armed") this.#disarm(interest);
    this.#onReady(interest);
  }

  #onReady(interest: Interest): void {
    interest.emptyEvents++;
    interest.hasShortWaits = nowMs() - interest.waitSinceMs <= SPIN_MS;
    interest.waitSinceMs = 0;
    interest.wake();
  }

  /** Arms one end of a socket pair, closes the other, and waits for the notifications. */
  async #probe(): Promise<void> {
    checkResult(this.#native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
    const [kept, closed] = [this.#native.scratch[0] as number, this.#native.scratch[1] as number];
    const registration = this.add(kept);
    this.ref();
    try {
      this.#native.close(closed);
      for (let i = 0; i < PROBE_NOTIFICATIONS; i++) {
        const { promise: notified, resolve } = Promise.withResolvers<void>();
        registration.read.waker = resolve;
        this.#arm(registration.read, resolve);
        await within(PROBE_TIMEOUT_MS, notified, `mode "${this.mode}" sent no notification`);
      }
    } finally {
      this.unref();
      this.remove(registration);
      this.#native.close(kept);
    }
  }
}
