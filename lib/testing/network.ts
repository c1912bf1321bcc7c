/** A simulated network, with a seed and virtual time. */

import { SocketAddress } from "../address/socket-address.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { SocketError } from "../support/errors.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";
import { checkMilliseconds } from "./check-values.ts";
import { SimClock } from "./clock.ts";
import type { SimEvent } from "./event.ts";
import { EventQueue } from "./event-queue.ts";
import { SimHost } from "./hosts.ts";
import { ERRNO } from "./icmp.ts";
import { Journal, type SimReport } from "./journal.ts";
import type { LinkOptions } from "./link.ts";
import type { NatOptions, SimNat } from "./nat.ts";
import { SimRandom } from "./random.ts";
import { Router } from "./router.ts";
import { Runner, type RunOptions } from "./runner.ts";
import { SimSocket } from "./socket.ts";
import {
  DEFAULT_SOCKET,
  type SimSocketOptions,
  type SimSocketSettings,
  withSocketOptions,
} from "./socket-options.ts";
import type { Partition } from "./topology.ts";

/** Options of a `SimNetwork`. */
export interface SimNetworkOptions {
  /** The seed, an integer 0..2^53-1. The same seed and program give the same run. Default 0. */
  readonly seed?: number | undefined;
  /** The properties of links that `link` does not set. */
  readonly link?: LinkOptions | undefined;
  /** The options of sockets that `bind` does not set. */
  readonly socket?: Omit<SimSocketOptions, "connect"> | undefined;
  /**
   * The interval at which wakers are called, in milliseconds: datagrams that arrive within it are
   * received together, as by a busy event loop. Default 0: at once.
   */
  readonly wakeIntervalMs?: number | undefined;
  /** The number of events that `trace` keeps, 0..1000000. Default 1000. */
  readonly traceEvents?: number | undefined;
}

const NETWORK_OPTIONS = optionKinds<SimNetworkOptions>({
  seed: "any",
  link: "any",
  socket: "any",
  wakeIntervalMs: "any",
  traceEvents: "any",
});

/**
 * A network of hosts within this process. Each host has one address and exists once a socket is
 * bound to it. Each pair of hosts has a link in either direction.
 *
 * Nothing happens by itself: time advances, and datagrams arrive, while `run` runs. Virtual time
 * stands still while the code under test has promise callbacks or immediates to run, and then jumps
 * to the next event. The code under test must take its time, timers and random numbers from the
 * network (`clock`, `random`); real timers, I/O and `Math.random` would make runs differ.
 *
 * @example
 * ```ts
 * const net = new SimNetwork({ seed: 1, link: { delayMs: 20, loss: 0.1 } });
 * const server = net.bind("10.0.0.1", 53);
 * const client = net.bind("10.0.0.2", 0, { connect: server.localAddr });
 * await net.run(() => client.send(new Uint8Array(8)));
 * ```
 */
export class SimNetwork {
  /** The seed. */
  readonly seed: number;
  /** The clock and the timers for the code under test. */
  readonly clock: SimClock;
  /** Random numbers for the code under test. Independent of those that the network uses. */
  readonly random: SimRandom;
  readonly #networkRandom: SimRandom;
  readonly #events: EventQueue = new EventQueue();
  readonly #journal: Journal;
  readonly #hosts = new Map<string, SimHost<SimSocket>>();
  readonly #router: Router;
  readonly #runner: Runner;
  readonly #socketSettings: SimSocketSettings;
  readonly #wakeIntervalMs: number;
  #socketCount = 0;

  /**
   * Creates a network without hosts.
   *
   * @throws TypeError or RangeError for invalid options.
   */
  constructor(options: SimNetworkOptions = {}) {
    checkOptions("options", options, NETWORK_OPTIONS);
    const { seed = 0, link = {}, socket = {}, wakeIntervalMs = 0, traceEvents = 1000 } = options;
    checkMilliseconds("wakeIntervalMs", wakeIntervalMs);
    checkInteger("traceEvents", traceEvents, 0, 1_000_000);
    const random = new SimRandom(seed);
    this.seed = seed;
    this.random = random.fork("code under test");
    this.#networkRandom = random.fork("network");
    this.clock = new SimClock(this.#events);
    this.#journal = new Journal(this.clock, traceEvents);
    this.#socketSettings = withSocketOptions(DEFAULT_SOCKET, socket);
    this.#wakeIntervalMs = wakeIntervalMs;
    this.#router = new Router({
      clock: this.clock,
      events: this.#events,
      journal: this.#journal,
      hosts: this.#hosts,
      random: this.#networkRandom,
      link,
    });
    this.#runner = new Runner(this.#events, this.clock, () => this.#journal.throwIfFailed());
  }

  /** The virtual time in milliseconds since the network was created. */
  get now(): number {
    return this.clock.now;
  }

  /**
   * Opens a socket on the host with that address, which exists from then on.
   *
   * @param port 0..65535. Default 0: an ephemeral port.
   * @throws SocketError with code `EADDRINUSE` if a socket has the port.
   * @throws TypeError or RangeError for invalid arguments.
   */
  bind(address: string, port = 0, options: SimSocketOptions = {}): SimSocket {
    const hostname = SocketAddress.ip(address, port).address;
    const settings = withSocketOptions(this.#socketSettings, options);
    let host = this.#hosts.get(hostname);
    if (host === undefined) {
      host = new SimHost();
      this.#hosts.set(hostname, host);
    }
    const random = this.#networkRandom.fork(`socket ${this.#socketCount++}`);
    const local = SocketAddress.ip(hostname, port === 0 ? host.freePort(random) : port);
    if (host.socketAt(local.port) !== undefined) {
      const code = "EADDRINUSE";
      throw new SocketError({ errno: ERRNO[code], code, syscall: "bind", address: String(local) });
    }
    const socket: SimSocket = new SimSocket(local, settings, this.#wireOf(host, local, random));
    host.bind(local.port, socket);
    return socket;
  }

  #wireOf(host: SimHost<SimSocket>, local: SocketAddress, random: SimRandom) {
    const { clock } = this;
    return {
      random,
      get nowMs() {
        return clock.now;
      },
      transmit: this.#router.transmitterOf(local),
      pathMtu: (to: SocketAddress) => host.pathMtu(to, clock.now),
      schedule: (delayMs: number, run: () => void) => {
        this.#events.add(clock.now + delayMs, run);
      },
      scheduleWake: (run: () => void) => this.#scheduleWake(run),
      callLater: (run: () => void) => {
        this.#runner.willRunCode();
        queueMicrotask(run);
      },
      received: this.#router.receiverOf(local),
      discarded: (datagram: SimEvent["datagram"]) => this.#journal.lose("closed", datagram),
      unbind: () => host.unbind(local.port),
    };
  }

  #scheduleWake(run: () => void): void {
    const interval = this.#wakeIntervalMs;
    const nowMs = this.clock.now;
    const timeMs = interval === 0 ? nowMs : (Math.floor(nowMs / interval) + 1) * interval;
    this.#events.add(timeMs, () => {
      this.#runner.willRunCode();
      run();
    });
  }

  /** The open sockets, by host and in the order of their creation. */
  get sockets(): SimSocket[] {
    return Array.from(this.#hosts.values(), (host) => host.sockets()).flat();
  }

  // ---------------------------------------------------------------------------- topology ----

  /**
   * Sets properties of the links between two hosts, in both directions. Others keep their value. The
   * links of a host behind a NAT are those of the outside address of the NAT.
   *
   * @throws TypeError or RangeError for invalid options.
   */
  link(a: string, b: string, options: LinkOptions): void {
    this.linkOneWay(a, b, options);
    this.linkOneWay(b, a, options);
  }

  /** Sets properties of the link from one host to another. Others keep their value. */
  linkOneWay(from: string, to: string, options: LinkOptions): void {
    this.#router.topology.setLink(from, to, options);
  }

  /**
   * Separates two groups of hosts: datagrams between them are lost, also those that are on their
   * way. Returns an object whose `heal` ends it.
   */
  partition(some: readonly string[], others: readonly string[]): Partition {
    return this.#router.topology.partition(some, others);
  }

  /** Adds a NAT. Its hosts inside need not exist yet. */
  nat(options: NatOptions): SimNat {
    return this.#router.topology.addNat(options);
  }

  // --------------------------------------------------------------------------------- run ----

  /**
   * Runs the simulation until the promise that `main` returns is settled, and returns its value.
   * Events that are due later stay for the next `run`.
   *
   * @throws SimulationError with code `ERR_SIM_STALLED` if nothing is left that could settle the
   * promise: a deadlock, or the code under test waits for a real timer or I/O. With code
   * `ERR_SIM_TIMEOUT` after `untilMs`. With code `ERR_SIM_BUSY` if the code under test calls
   * `setImmediate` without end.
   * @throws whatever `main` or a timer of the code under test throws.
   */
  run<T>(main: () => PromiseLike<T> | T, options: RunOptions = {}): Promise<T> {
    return this.#runner.run(main, options);
  }

  /** Runs until no datagram is in flight. Datagrams may remain in receive queues. */
  async drain(options: RunOptions = {}): Promise<void> {
    while (this.#journal.report.inFlight > 0) await this.run(() => this.clock.sleep(1), options);
  }

  // ------------------------------------------------------------------------- observation ----

  /** What the network did with every datagram. */
  get report(): SimReport {
    return this.#journal.report;
  }

  /** The latest events, oldest first. `net.trace.join("\n")` is a readable log. */
  get trace(): readonly SimEvent[] {
    return this.#journal.trace;
  }

  /** A 32-bit digest of all events. Two runs are equal if their digests are. */
  get digest(): number {
    return this.#journal.digest;
  }

  /**
   * Calls `observer` with each event. Returns a function that ends it. An error that `observer` throws
   * fails the run.
   */
  observe(observer: (event: SimEvent) => void): () => void {
    if (typeof observer !== "function") throw typeError("observer", "function", observer);
    this.#journal.observers.add(observer);
    return () => this.#journal.observers.delete(observer);
  }
}

if (isShared("SimNetwork", SimNetwork)) {
  // @ts-expect-error See `isShared`.
  SimNetwork = sharedClass("SimNetwork");
}
