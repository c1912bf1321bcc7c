/**
 * When to try again: one reactor a thread, for all sockets that the shim drives.
 *
 * A socket is tried first and asked about afterwards. When there is nothing, its interest is
 * either *hot* (tried again at every turn of the event loop, by `setImmediate`) or *parked* (the
 * kernel tells when it is ready, and the thread may sleep; lib/readiness/bell.ts):
 *
 * - hot costs one empty system call a turn and answers within microseconds;
 * - parked costs nothing while idle.
 *
 * An interest stays hot for `SPIN_MS` after its last datagram if its waits have been that short
 * lately, as a ping-pong's are, and parks at once otherwise.
 *
 * Fairness: whoever asks with a waker gets `SOCKET_TURN_DATAGRAMS` datagrams and `TURN_MS` in a
 * turn; then it has to wait for the next, with timers and other sockets in between.
 */

import type { Native, NativeReactor } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/address.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import type { Waker } from "../traits/poll.ts";
import { type Bell, openBell, type ReadinessMode, within } from "./bell.ts";
import { Interest, type Registration, type Scheduler } from "./interest.ts";

/** <poll.h>. */
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;

const SOCK_STREAM = 1;

/** How long an empty socket is tried again before it parks, if that is worth it. */
const SPIN_MS = 0.1;
/** Sockets that may be tried at every turn; further ones park at once. */
const HOT_MAX = 64;
/** Datagrams that one direction of a socket may move in a turn. */
const SOCKET_TURN_DATAGRAMS = 2048;
/** Datagrams that it moves before turns are counted at all: one at a time needs none. */
const UNCOUNTED_DATAGRAMS = 8;
/** How long all of them together may take in a turn. */
const TURN_MS = 1;
/** How long the probe waits for the first ring. */
const PROBE_TIMEOUT_MS = 250;

/** A token has 20 bits for the slot. */
const SLOTS_MAX = 2 ** 20;

/** Interests of a registration, which have neighbouring slots. */
const INTERESTS = 3;

/** The readiness of all sockets of a thread. */
export class Reactor implements Scheduler {
  readonly mode: ReadinessMode;
  readonly #native: Native;
  readonly #kernel: NativeReactor;
  readonly #interests: (Interest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  #bell: Bell | undefined;
  #generation = 0;
  #refs = 0;

  /** How many the kernel watches, and the latest of them. */
  #armed = 0;
  #lastArmed: Interest | undefined;

  #hot: Interest[] = [];
  #calling: Interest[] = [];
  #turn = 1;
  #turnStartMs = 0;
  #turnScheduled = false;
  readonly #runTurn = () => this.#nextTurn();

  private constructor(native: Native, mode: ReadinessMode) {
    this.#native = native;
    this.#kernel = native.reactor();
    this.mode = mode;
  }

  /**
   * Makes a reactor that is told by `mode`, and told once, to be sure.
   *
   * @throws SocketError or Error that says what failed.
   */
  static async create(native: Native, mode: ReadinessMode): Promise<Reactor> {
    const reactor = new Reactor(native, mode);
    const bell = await openBell(native, reactor.#kernel, mode, () => reactor.#onRing());
    reactor.#bell = bell;
    bell.unref();
    try {
      await reactor.#probe();
    } catch (error) {
      bell.close();
      throw error;
    }
    return reactor;
  }

  /** Takes an open descriptor in; its owner still closes it, after `remove`. */
  add(fd: number): Registration {
    const slot = this.#freeSlots.pop() ?? this.#interests.length;
    if (slot + INTERESTS >= SLOTS_MAX) {
      throw new SocketError({ errno: 0, code: "EMFILE", syscall: "socket" });
    }
    const read = new Interest(this, slot, fd, POLLIN);
    const write = new Interest(this, slot + 1, fd, POLLOUT);
    const error = new Interest(this, slot + 2, fd, 0);
    this.#interests[slot] = read;
    this.#interests[slot + 1] = write;
    this.#interests[slot + 2] = error;
    return { read, write, error };
  }

  /** Whether a socket of this thread has that descriptor. */
  has(fd: number): boolean {
    return this.#interests.some((interest) => interest?.fd === fd);
  }

  /** Lets a descriptor go: nothing in the kernel or here refers to it afterwards. */
  remove({ read, write, error }: Registration): void {
    const fd = read.fd;
    for (const interest of [read, write, error]) {
      if (interest.isKnown) this.#kernel.disarm(interest.fd);
      this.#setArmed(interest, false);
      interest.waker = null;
      this.#interests[interest.slot] = undefined;
      if (interest.fd !== fd) this.#native.close(interest.fd);
      interest.fd = -1;
    }
    this.#freeSlots.push(read.slot);
  }

  /** Keeps the process alive until the same number of `unref`. */
  ref(): void {
    if (this.#refs++ === 0) this.#bell?.ref();
  }

  unref(): void {
    if (--this.#refs === 0) this.#bell?.unref();
  }

  // ------------------------------------------------------------------ what interests ask for ----

  mayRun(interest: Interest, waker: Waker): boolean {
    if (interest.turn !== this.#turn) {
      interest.turn = this.#turn;
      interest.movedInTurn = 0;
    }
    if (interest.movedInTurn < SOCKET_TURN_DATAGRAMS && !this.#isLate()) return true;
    interest.waker = waker;
    this.#heat(interest);
    return false;
  }

  moved(interest: Interest, count: number): void {
    interest.hasMoved = true;
    interest.movedInTurn += count;
    interest.emptySinceMs = 0;
    if (interest.movedInTurn > UNCOUNTED_DATAGRAMS) this.#scheduleTurn();
  }

  wait(interest: Interest, waker: Waker): void {
    interest.waker = waker;
    if (interest.isHot) return;
    const nowMs = performance.now();
    if (interest.emptySinceMs === 0) interest.emptySinceMs = nowMs;
    const emptyMs = nowMs - interest.emptySinceMs;
    // A full socket is never hot: trying to send is no cheap question.
    const isHot = interest.events === POLLIN && interest.spins && emptyMs <= SPIN_MS;
    if (isHot && this.#hot.length < HOT_MAX) {
      this.#heat(interest);
    } else {
      if (emptyMs > SPIN_MS) interest.spins = false;
      interest.parkedAtMs = nowMs;
      this.#park(interest, waker);
    }
  }

  // ---------------------------------------------------------------------------------- turns ----

  /** Whether the turn's time is used up. */
  #isLate(): boolean {
    return this.#turnScheduled && performance.now() - this.#turnStartMs > TURN_MS;
  }

  #heat(interest: Interest): void {
    if (!interest.isHot) {
      interest.isHot = true;
      this.#hot.push(interest);
      // What is tried at every turn need not be told of as well.
      if (interest.isArmed) this.#silence(interest);
    }
    this.#scheduleTurn();
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    this.#turnStartMs = performance.now();
    const immediate = setImmediate(this.#runTurn);
    if (this.#refs === 0) immediate.unref();
  }

  #nextTurn(): void {
    this.#turnScheduled = false;
    this.#turn++;
    const calling = this.#hot;
    this.#hot = this.#calling;
    this.#calling = calling;
    let called = 0;
    // With the time used up all would be sent away again, thousands of them for nothing.
    while (called < calling.length && !this.#isLate()) {
      const interest = calling[called++] as Interest;
      interest.isHot = false;
      interest.wake();
    }
    if (called < calling.length) this.#goFirst(calling, called);
    else calling.length = 0;
  }

  /** Puts those of `calling` from `start` on in front of whoever became hot meanwhile. */
  #goFirst(calling: Interest[], start: number): void {
    const later = this.#hot;
    calling.copyWithin(0, start);
    calling.length -= start;
    for (const interest of later) calling.push(interest);
    later.length = 0;
    this.#hot = calling;
    this.#calling = later;
  }

  // --------------------------------------------------------------------------------- parking ----

  /**
   * Has the kernel tell once `interest` is ready; if it cannot, tries at every turn.
   *
   * A reader stays armed from one datagram to the next where the loop itself watches: a socket
   * that is empty again when the thread goes to sleep is not reported, and costs no system call.
   */
  #park(interest: Interest, waker: Waker): void {
    if (interest.isArmed) return;
    if (interest.events !== POLLIN && !this.#separate(interest)) {
      // No descriptor is left. Armed by the reader's, it would take the reader's place.
      interest.retryLater(waker);
      return;
    }
    this.#generation = (this.#generation + 1) % 2 ** 31;
    interest.token = this.#generation * 2 ** 20 + interest.slot + 1;
    if (this.#arm(interest, interest.events, this.#isOnce(interest)) < 0) this.#heat(interest);
    else this.#setArmed(interest, true);
  }

  #isOnce(interest: Interest): boolean {
    return this.mode === "thread" || interest.events !== POLLIN;
  }

  #arm(interest: Interest, events: number, isOnce: boolean): number {
    const result = this.#kernel.arm(interest.fd, events, interest.token, isOnce);
    if (result >= 0) interest.isKnown = true;
    return result;
  }

  /** Has the kernel tell no longer. */
  #silence(interest: Interest): void {
    this.#setArmed(interest, false);
    this.#arm(interest, 0, true);
  }

  #setArmed(interest: Interest, isArmed: boolean): void {
    if (interest.isArmed === isArmed) return;
    interest.isArmed = isArmed;
    this.#armed += isArmed ? 1 : -1;
    if (isArmed) this.#lastArmed = interest;
  }

  /**
   * epoll knows a descriptor once; interests park apart, so all but the reader need another:
   * whether it has one.
   */
  #separate(interest: Interest): boolean {
    const read = this.#interests[interest.slot - (interest.slot % INTERESTS)];
    if (read === undefined || interest.fd !== read.fd) return true;
    const duplicate = this.#native.duplicate(interest.fd);
    if (duplicate < 0) return false;
    interest.fd = duplicate;
    return true;
  }

  #onRing(): void {
    const only = this.#lastArmed;
    if (this.#armed === 1 && only?.isArmed && only.waker !== null && !this.#isOnce(only)) {
      // Who else; and if it finds a datagram, nothing else is to be known.
      only.hasMoved = false;
      this.#onReady(only);
      if (only.hasMoved) return;
    }
    for (;;) {
      const count = this.#kernel.reap();
      for (let i = 0; i < count; i++)
        this.#onReported(this.#kernel.tokenAt(i), this.#kernel.eventsAt(i));
      if (!this.#kernel.isFull(count)) return;
    }
  }

  #onReported(token: number, events: number): void {
    const interest = this.#interests[(token % 2 ** 20) - 1];
    // Of an interest that was removed, or silenced, or armed anew since.
    if (interest === undefined || interest.token !== token || !interest.isArmed) return;
    if (this.#isOnce(interest)) this.#setArmed(interest, false);
    if ((events & POLLERR) !== 0) interest.sawError = true;
    // Nobody takes what is there, which would be reported for ever.
    if (interest.waker === null && interest.isArmed) this.#silence(interest);
    this.#onReady(interest);
  }

  #onReady(interest: Interest): void {
    interest.spins = performance.now() - interest.parkedAtMs <= SPIN_MS;
    interest.emptySinceMs = 0;
    interest.wake();
  }

  /** Parks on one end of a pair, closes the other, and expects to be told. */
  async #probe(): Promise<void> {
    checkResult(this.#native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
    const [kept, closed] = [this.#native.scratch[0] as number, this.#native.scratch[1] as number];
    const registration = this.add(kept);
    this.ref();
    try {
      const { promise: told, resolve } = Promise.withResolvers<void>();
      registration.read.waker = resolve;
      this.#park(registration.read, resolve);
      this.#native.close(closed);
      await within(PROBE_TIMEOUT_MS, told, `readiness by "${this.mode}" told nothing`);
    } finally {
      this.unref();
      this.remove(registration);
      this.#native.close(kept);
    }
  }
}
