/**
 * When to try again: one reactor a thread, for all sockets that the shim drives.
 *
 * A socket is tried first and asked about afterwards. When there is nothing, its interest is
 * either *hot* (tried again at every turn of the event loop, by `setImmediate`) or *parked* (the
 * kernel rings a bell when it is ready, and the thread may sleep):
 *
 * - hot costs one empty system call a turn and answers within microseconds;
 * - parked costs nothing while idle; the bell is one end of a stream socket pair that Bun watches,
 *   rung by io_uring (a poll request linked to a send: no thread, one wake-up) or, where a
 *   container forbids that, by a helper thread (two wake-ups).
 *
 * An interest stays hot for `SPIN_MS` after its last datagram if its waits have been that short
 * lately, as a ping-pong's are, and parks at once otherwise.
 *
 * Fairness: whoever asks with a waker gets `SOCKET_TURN_DATAGRAMS` datagrams and `TURN_MS` in a
 * turn; then it has to wait for the next, with timers and other sockets in between.
 */

import {
  loadNative,
  type Native,
  type NativeReactor,
  type ReadinessMode,
  SOCKETS_MAX,
} from "../ffi/native.ts";
import { AF_UNIX } from "./address.ts";
import { checkResult, SocketError } from "./errors.ts";
import { callWaker, type Waker } from "./poll.ts";
import { warn } from "./warn.ts";

/** <poll.h>. */
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
/** errno(3) of Linux. */
const EBUSY = 16;

const SOCK_STREAM = 1;

/** How long an empty socket is tried again before it parks, if that is worth it. */
const SPIN_MS = 0.1;
/** Sockets that may be tried at every turn; further ones park at once. */
const HOT_MAX = 64;
/** Datagrams that one direction of a socket may move in a turn. */
const SOCKET_TURN_DATAGRAMS = 2048;
/** How long all of them together may take in a turn. */
const TURN_MS = 1;
/** How long after a failed try comes the next, where the kernel tells nobody: doubled each time. */
const RETRY_MIN_MS = 1;
const RETRY_MAX_MS = 16;
/** How long the probe waits for the first ring. */
const PROBE_TIMEOUT_MS = 250;

/** Environment variable that asks for one way: `io_uring` or `thread`. */
const MODE_VARIABLE = "DATAGRAM_SOCKET_READINESS";

/** One direction of one socket: who waits for it, and how. */
export class Interest {
  readonly #reactor: Reactor;
  readonly events: number;
  /** Its place in the reactor's table. */
  readonly slot: number;
  /** What the kernel is asked about; `-1` before and after. */
  fd: number;
  /** Whether the last ring said that an error is queued. */
  sawError = false;

  /** @internal */ _waker: Waker | null = null;
  /** @internal */ _hot = false;
  /** @internal */ _token = 0;
  /** @internal */ _parkedAtMs = 0;
  /** @internal */ _emptySinceMs = 0;
  /** @internal */ _spins = false;
  /** @internal */ _turn = 0;
  /** @internal */ _moved = 0;
  /** @internal */ _retryMs = RETRY_MIN_MS;

  constructor(reactor: Reactor, slot: number, fd: number, events: number) {
    this.#reactor = reactor;
    this.slot = slot;
    this.fd = fd;
    this.events = events;
  }

  /** Whether the turn's budget allows another try; if not, `waker` is called in the next turn. */
  mayRun(waker: Waker | null): boolean {
    return waker === null || this.#reactor._mayRun(this, waker);
  }

  /** Tells that `count` datagrams moved. */
  moved(count: number): void {
    this._retryMs = RETRY_MIN_MS;
    this.#reactor._moved(this, count);
  }

  /** Has `waker` called when it is worth another try, after the kernel said would-block. */
  wait(waker: Waker): void {
    this.#reactor._wait(this, waker);
  }

  /** Has `waker` called a little later, when the kernel will not tell (`ENOBUFS`). */
  retryLater(waker: Waker): void {
    this._waker = waker;
    const delayMs = this._retryMs;
    this._retryMs = Math.min(2 * delayMs, RETRY_MAX_MS);
    // What keeps the process alive is the socket, as long as it does.
    setTimeout(() => this.wake(), delayMs).unref();
  }

  /** Hands the kept waker out; the interest has none afterwards. */
  takeWaker(): Waker | null {
    const waker = this._waker;
    this._waker = null;
    return waker;
  }

  /** Calls the waker that is kept, if there is one. */
  wake(): void {
    const waker = this.takeWaker();
    if (waker !== null) callWaker(waker);
  }
}

/** A socket's place in the reactor. */
export interface Registration {
  readonly read: Interest;
  readonly write: Interest;
  /** Told of errors alone, which the kernel reports to whoever asks for nothing. */
  readonly error: Interest;
}

/** Interests of a registration, which have neighbouring slots. */
const INTERESTS = 3;

/** What Bun's event loop watches for the reactor. */
interface Bell {
  ref(): void;
  unref(): void;
  end(): void;
}

/** The readiness of all sockets of a thread. */
export class Reactor {
  readonly mode: ReadinessMode;
  readonly #native: Native;
  readonly #kernel: NativeReactor;
  readonly #bell: Bell;
  readonly #interests: (Interest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  #generation = 0;
  #refs = 0;

  #hot: Interest[] = [];
  #calling: Interest[] = [];
  #turn = 1;
  #turnStartMs = 0;
  #turnScheduled = false;
  readonly #runTurn = () => this.#nextTurn();

  private constructor(native: Native, kernel: NativeReactor, bell: Bell, mode: ReadinessMode) {
    this.#native = native;
    this.#kernel = kernel;
    this.#bell = bell;
    this.mode = mode;
  }

  /**
   * Makes a reactor that rings by `mode` and hears one ring, to be sure.
   *
   * @throws SocketError or Error that says what failed.
   */
  static async create(native: Native, mode: ReadinessMode): Promise<Reactor> {
    checkResult(native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
    const [rung, heard] = [native.scratch[0] as number, native.scratch[1] as number];
    const ears = { hear: () => {} };
    let bell: Bell;
    try {
      bell = (await connectDescriptor(heard, () => ears.hear())) as Bell;
    } catch (error) {
      native.close(heard);
      native.close(rung);
      throw error;
    }
    bell.unref();
    const kernel = native.reactor();
    const opened = kernel.open(mode, rung);
    if (opened < 0) {
      native.close(rung);
      bell.end();
      throw new SocketError({ errno: -opened, syscall: mode });
    }
    const reactor = new Reactor(native, kernel, bell, mode);
    ears.hear = () => reactor.#onBell();
    await reactor.#probe();
    return reactor;
  }

  /**
   * Takes an open descriptor in; its owner still closes it, after `remove`. One that `isOwned` by
   * the library is closed with the thread's heap at the latest.
   */
  add(fd: number, { isOwned }: { readonly isOwned: boolean }): Registration {
    const slot = this.#freeSlots.pop() ?? this.#interests.length;
    if (slot + INTERESTS > SOCKETS_MAX) {
      throw new SocketError({ errno: 0, code: "EMFILE", syscall: "socket" });
    }
    const read = new Interest(this, slot, fd, POLLIN);
    const write = new Interest(this, slot + 1, fd, POLLOUT);
    this.#interests[slot] = read;
    const error = new Interest(this, slot + 2, fd, 0);
    this.#interests[slot + 1] = write;
    this.#interests[slot + 2] = error;
    if (isOwned) this.#kernel.track(slot, fd);
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
      if (interest._token !== 0) this.#kernel.disarm(interest.fd, interest._token);
      interest._token = 0;
      interest._waker = null;
      this.#interests[interest.slot] = undefined;
      this.#kernel.track(interest.slot, -1);
      // The helper thread's way needs a descriptor of its own for each interest (see #park).
      if (interest.fd !== fd) this.#native.close(interest.fd);
      interest.fd = -1;
    }
    this.#freeSlots.push(read.slot);
  }

  /** Keeps the process alive until the same number of `unref`. */
  ref(): void {
    if (this.#refs++ === 0) this.#bell.ref();
  }

  unref(): void {
    if (--this.#refs === 0) this.#bell.unref();
  }

  /** @internal */
  _mayRun(interest: Interest, waker: Waker): boolean {
    if (interest._turn !== this.#turn) {
      interest._turn = this.#turn;
      interest._moved = 0;
    }
    if (interest._moved < SOCKET_TURN_DATAGRAMS && !this.#isLate()) return true;
    interest._waker = waker;
    this.#heat(interest);
    return false;
  }

  /** Whether the turn's time is used up. */
  #isLate(): boolean {
    return this.#turnScheduled && performance.now() - this.#turnStartMs > TURN_MS;
  }

  /** @internal */
  _moved(interest: Interest, count: number): void {
    interest._moved += count;
    interest._emptySinceMs = 0;
    this.#scheduleTurn();
  }

  /** @internal */
  _wait(interest: Interest, waker: Waker): void {
    interest._waker = waker;
    if (interest._hot || interest._token !== 0) return;
    const nowMs = performance.now();
    if (interest._emptySinceMs === 0) interest._emptySinceMs = nowMs;
    const emptyMs = nowMs - interest._emptySinceMs;
    // A full socket is never hot: trying to send is no cheap question.
    const isHot = interest.events === POLLIN && interest._spins && emptyMs <= SPIN_MS;
    if (isHot && this.#hot.length < HOT_MAX) {
      this.#heat(interest);
    } else {
      if (emptyMs > SPIN_MS) interest._spins = false;
      interest._parkedAtMs = nowMs;
      this.#park(interest);
    }
  }

  #heat(interest: Interest): void {
    if (!interest._hot) {
      interest._hot = true;
      this.#hot.push(interest);
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
      interest._hot = false;
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

  /** Has the bell rung once `interest` is ready; if the kernel cannot, tries at every turn. */
  #park(interest: Interest): void {
    if (this.mode === "thread" && interest.events !== POLLIN) this.#separate(interest);
    this.#generation = (this.#generation + 1) % 2 ** 31;
    const token = this.#generation * 2 ** 20 + interest.slot + 1;
    let result = this.#kernel.arm(interest.fd, interest.events, token);
    if (result === -EBUSY) {
      // Old kernels take nothing while what they have to tell is not taken.
      this.#onBell();
      result = this.#kernel.arm(interest.fd, interest.events, token);
    }
    if (result < 0) this.#heat(interest);
    else interest._token = token;
  }

  /** epoll knows a descriptor once; interests park apart, so all but the first need another. */
  #separate(interest: Interest): void {
    const read = this.#interests[interest.slot - (interest.slot % INTERESTS)];
    if (read === undefined || interest.fd !== read.fd) return;
    const duplicate = this.#native.duplicate(interest.fd);
    if (duplicate < 0) return;
    interest.fd = duplicate;
    this.#kernel.track(interest.slot, duplicate);
  }

  #onBell(): void {
    for (;;) {
      const count = this.#kernel.reap();
      for (let i = 0; i < count; i++)
        this.#onReady(this.#kernel.tokenAt(i), this.#kernel.eventsAt(i));
      if (!this.#kernel.isFull(count)) return;
    }
  }

  #onReady(token: number, events: number): void {
    const interest = this.#interests[(token % 2 ** 20) - 1];
    // Of an interest that was removed, or parked anew since.
    if (interest === undefined || interest._token !== token) return;
    interest._token = 0;
    interest._spins = performance.now() - interest._parkedAtMs <= SPIN_MS;
    interest._emptySinceMs = 0;
    if ((events & POLLERR) !== 0) interest.sawError = true;
    interest.wake();
  }

  /** Parks on one end of a pair, closes the other, and expects the ring. */
  async #probe(): Promise<void> {
    checkResult(this.#native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
    const [kept, closed] = [this.#native.scratch[0] as number, this.#native.scratch[1] as number];
    const registration = this.add(kept, { isOwned: true });
    this.ref();
    try {
      await new Promise<void>((resolve, reject) => {
        const tooLate = () =>
          reject(new Error(`${this.mode} rang no bell in ${PROBE_TIMEOUT_MS} ms`));
        const timer = setTimeout(tooLate, PROBE_TIMEOUT_MS);
        registration.read._waker = () => {
          clearTimeout(timer);
          resolve();
        };
        this.#park(registration.read);
        this.#native.close(closed);
      });
    } finally {
      this.unref();
      this.remove(registration);
      this.#native.close(kept);
    }
  }
}

/** `Bun.connect` takes descriptors over (`FdSocketOptions`); its overloads leave that out. */
function connectDescriptor(fd: number, onData: () => void): Promise<unknown> {
  const connect = Bun.connect as unknown as (options: object) => Promise<unknown>;
  return connect({ fd, socket: { data: onData, open() {}, close() {}, error() {} } });
}

/** The reactor of a thread, or why it has none. */
export type ReactorResult =
  | { readonly native: Native; readonly reactor: Reactor }
  | { readonly reason: string };

let result: Promise<ReactorResult> | undefined;

/** The thread's reactor, made and probed at the first call; never rejects. */
export function loadReactor(): Promise<ReactorResult> {
  result ??= makeReactor();
  return result;
}

async function makeReactor(): Promise<ReactorResult> {
  const loaded = loadNative();
  if ("reason" in loaded) return loaded;
  const asked = process.env[MODE_VARIABLE];
  const modes: ReadinessMode[] = asked === "thread" ? ["thread"] : ["io_uring", "thread"];
  const failures: string[] = [];
  for (const mode of modes) {
    try {
      const reactor = await Reactor.create(loaded.native, mode);
      if (failures.length > 0) warn(`readiness by a helper thread, as ${failures[0]}`);
      return { native: loaded.native, reactor };
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { reason: failures.join("; ") };
}
