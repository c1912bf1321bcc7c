/** The hosts of a simulated network: their ports, and the path MTUs that they have learned. */

import type { SocketAddress } from "../address/socket-address.ts";
import { rangeError } from "../support/check.ts";
import type { SimRandom } from "./random.ts";

/** The ephemeral ports of Linux: `ip_local_port_range` in ip(7). */
const EPHEMERAL_MIN = 32_768;
const EPHEMERAL_MAX = 60_999;
/** How long a path MTU is remembered: `mtu_expires` in ip(7). */
const PATH_MTU_EXPIRY_MS = 600_000;
/** The path MTU of a host about which nothing was learned: the maximum. */
const MTU_UNKNOWN = 65_535;

/** A host: one address. `S` is the type of its sockets. */
export class SimHost<S> {
  readonly #ports = new Map<number, S>();
  /** The next ephemeral port, counted from the first. */
  #nextPort: number | undefined;
  readonly #pathMtus = new Map<string, { readonly mtu: number; readonly expiresMs: number }>();

  /** Returns the socket that has a port. */
  socketAt(port: number): S | undefined {
    return this.#ports.get(port);
  }

  /** The sockets in the order of their creation. */
  sockets(): S[] {
    return [...this.#ports.values()];
  }

  bind(port: number, socket: S): void {
    this.#ports.set(port, socket);
  }

  unbind(port: number): void {
    this.#ports.delete(port);
  }

  /**
   * Returns a free ephemeral port: the next one, beginning with a random one. A port is therefore not
   * used again until all others were, and no late datagram reaches another socket with its port.
   *
   * @throws RangeError if there is none.
   */
  freePort(random: SimRandom): number {
    const count = EPHEMERAL_MAX - EPHEMERAL_MIN + 1;
    this.#nextPort ??= random.integer(0, count - 1);
    for (let i = 0; i < count; i++) {
      const port = EPHEMERAL_MIN + (this.#nextPort++ % count);
      if (!this.#ports.has(port)) return port;
    }
    throw rangeError("port", "free port", "none");
  }

  /** Returns the known path MTU in bytes. */
  pathMtu(to: SocketAddress, nowMs: number): number {
    const known = this.#pathMtus.get(to.address);
    return known === undefined || known.expiresMs <= nowMs ? MTU_UNKNOWN : known.mtu;
  }

  /** Stores a path MTU that ICMP reported, unless a smaller one is known. */
  learnPathMtu(to: SocketAddress, mtu: number, nowMs: number): void {
    if (mtu >= this.pathMtu(to, nowMs)) return;
    this.#pathMtus.set(to.address, { mtu, expiresMs: nowMs + PATH_MTU_EXPIRY_MS });
  }
}
