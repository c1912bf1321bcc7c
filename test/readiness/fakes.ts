/**
 * A reactor without a kernel: the events, errors and descriptor numbers are those of the test. The
 * notifier is a fake of the socket that `Bun.udpSocket` returns.
 */

import { spyOn } from "bun:test";
import type { Native, Poller } from "../../ffi/native.ts";
import type { Interest } from "../../lib/readiness/interest.ts";
import { Reactor } from "../../lib/readiness/reactor.ts";

/** The maximum number of events of one `wait`. */
const READY_MAX = 64;

/** A request of the reactor for the events of a descriptor. */
export interface Arming {
  readonly events: number;
  readonly token: number;
  readonly isOnce: boolean;
}

/** Records the requests of a reactor. */
export class FakePoller {
  /** The latest request for each descriptor. */
  readonly armings: Map<number, Arming> = new Map();
  readonly removed: number[] = [];
  /** The result of `arm`. */
  result = 0;
  /** The results of `openInLoop` and `openWithThread`. */
  openResult = 0;
  /** Called by each request. */
  onArm: () => void = () => {};
  /** The events that the next calls of `wait` return. */
  readonly #events: [token: number, events: number][] = [];
  #returned: [token: number, events: number][] = [];

  /** Queues an event. */
  push(token: number, events: number): void {
    this.#events.push([token, events]);
  }

  arm(fd: number, events: number, token: number, isOnce: boolean): number {
    if (this.result < 0) return this.result;
    this.armings.set(fd, { events, token, isOnce });
    this.onArm();
    return 0;
  }

  remove(fd: number): number {
    this.removed.push(fd);
    this.armings.delete(fd);
    return 0;
  }

  wait(): number {
    this.#returned = this.#events.splice(0, READY_MAX);
    return this.#returned.length;
  }

  tokenAt(i: number): number {
    return this.#returned[i]?.[0] as number;
  }

  eventsAt(i: number): number {
    return this.#returned[i]?.[1] as number;
  }

  isFull(count: number): boolean {
    return count === READY_MAX;
  }

  openInLoop(): number {
    return this.openResult;
  }

  openWithThread(): number {
    return this.openResult;
  }
}

/** Counts up descriptor numbers, and records what happens to them. */
export class FakeNative {
  readonly scratch: Int32Array = new Int32Array(4);
  readonly fakePoller: FakePoller = new FakePoller();
  readonly closed: number[] = [];
  readonly disowned: number[] = [];
  /** The result of `duplicate` if it is negative. */
  duplicateResult = 0;
  #next = 1000;

  open(): number {
    return this.#next++;
  }

  pair(): number {
    this.scratch[0] = this.#next++;
    this.scratch[1] = this.#next++;
    return 0;
  }

  duplicate(): number {
    return this.duplicateResult < 0 ? this.duplicateResult : this.#next++;
  }

  close(fd: number): number {
    this.closed.push(fd);
    return 0;
  }

  disown(fd: number): void {
    this.disowned.push(fd);
  }

  poller(): FakePoller {
    return this.fakePoller;
  }

  /** This object as the reactor takes it. */
  get native(): Native {
    return this as unknown as Native;
  }

  get realPoller(): Poller {
    return this.fakePoller as unknown as Poller;
  }
}

/** The handlers that a notifier passes to `Bun.udpSocket`. */
interface Handlers {
  error(): void;
  drain(): void;
}

/** What a notifier gets from Bun. Records the calls. */
export class FakeSocket {
  isClosed = false;
  isRef = true;

  ref(): void {
    this.isRef = true;
  }

  unref(): void {
    this.isRef = false;
  }

  close(): void {
    this.isClosed = true;
  }

  end(): void {
    this.isClosed = true;
  }
}

/** Replaces `Bun.udpSocket` while `action` runs: it returns `socket` or throws `error`. */
export async function withBunSocket<T>(
  { socket, error, onHandlers }: BunFake,
  action: () => Promise<T>,
): Promise<T> {
  const spy = spyOn(Bun, "udpSocket").mockImplementation((async (options: { socket: Handlers }) => {
    if (error !== undefined) throw error;
    onHandlers?.(options.socket);
    queueMicrotask(() => options.socket.drain());
    return socket;
  }) as never);
  try {
    return await action();
  } finally {
    spy.mockRestore();
  }
}

/** The behaviour of the fake. */
export interface BunFake {
  readonly socket: FakeSocket;
  readonly error?: Error;
  readonly onHandlers?: (handlers: Handlers) => void;
}

/** A reactor in mode "loop", and what it uses. */
export class FakeReactor {
  readonly fake: FakeNative = new FakeNative();
  readonly socket: FakeSocket = new FakeSocket();
  reactor!: Reactor;
  #notify: () => void = () => {};

  /** @param notifications how often the loop notifies the probe. */
  static async create(notifications = 2): Promise<FakeReactor> {
    const created = new FakeReactor();
    const { fake, socket } = created;
    let left = notifications;
    // As the loop, which notifies in each tick while a descriptor is ready.
    const tick = () => {
      if (left-- <= 0) return;
      created.#notify();
      setImmediate(tick);
    };
    fake.fakePoller.onArm = () => void setImmediate(tick);
    const bun = {
      socket,
      onHandlers: (handlers: Handlers) => {
        created.#notify = handlers.error;
      },
    };
    created.reactor = await withBunSocket(bun, () => Reactor.create(fake.native, "loop"));
    fake.fakePoller.onArm = () => {};
    return created;
  }

  get poller(): FakePoller {
    return this.fake.fakePoller;
  }

  /** Calls the reactor as the loop does when a descriptor is ready. */
  notify(): void {
    this.#notify();
  }

  /** Reports `events` of an interest that is armed. */
  report(interest: Interest, events: number): void {
    this.poller.push(interest.token, events);
    this.notify();
  }
}
