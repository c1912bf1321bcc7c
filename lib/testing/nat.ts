/** A network address translator, whose mappings can change. */

import { SocketAddress } from "../address/socket-address.ts";
import { rangeError, typeError } from "../support/check.ts";
import { checkOneOf, checkOptions, optionKinds } from "../support/options.ts";
import type { SimRandom } from "./random.ts";

/** Options of a NAT. */
export interface NatOptions {
  /** The address that the other hosts see. */
  readonly outside: string;
  /** The addresses of the hosts behind it. They reach each other without translation. */
  readonly inside: readonly string[];
  /**
   * Which datagrams from outside pass a mapping: those from an address and port that the mapping
   * has sent to (`"peer"`: address and port-dependent filtering), or all (`"none"`:
   * endpoint-independent filtering; RFC 4787 section 5). Default `"peer"`.
   */
  readonly filter?: "peer" | "none" | undefined;
}

const NAT_OPTIONS = optionKinds<NatOptions>({ outside: "any", inside: "any", filter: "any" });

/** The first port of a mapping: not a well-known one. */
const PORT_MIN = 1024;
const PORT_MAX = 65_535;

interface Mapping {
  readonly inside: SocketAddress;
  readonly outside: SocketAddress;
  /** The addresses that datagrams were sent to. */
  readonly peers: Set<string>;
}

/**
 * A NAT with one outside address. The mapping of a socket is the same for all destinations
 * (endpoint-independent mapping, RFC 4787 section 4.1). A port that was used once is not used again.
 */
export class SimNat {
  readonly #outside: string;
  readonly #inside: ReadonlySet<string>;
  readonly #filter: "peer" | "none";
  readonly #random: SimRandom;
  readonly #byInside = new Map<string, Mapping>();
  readonly #byPort = new Map<number, Mapping>();
  readonly #usedPorts = new Set<number>();

  /** @internal */
  constructor(options: NatOptions, random: SimRandom) {
    checkOptions("nat", options, NAT_OPTIONS);
    const { outside, inside, filter = "peer" } = options;
    checkOneOf("filter", filter, ["peer", "none"]);
    if (!Array.isArray(inside)) throw typeError("inside", "array", inside);
    this.#outside = SocketAddress.ip(outside, 0).address;
    this.#inside = new Set(inside.map((address) => SocketAddress.ip(address, 0).address));
    this.#filter = filter;
    this.#random = random;
  }

  /** The address that the other hosts see. */
  get outside(): string {
    return this.#outside;
  }

  /**
   * Removes the mappings of a socket, of all sockets of a host, or all of them. The next datagram of
   * a socket gets another port, and datagrams to the former port are lost.
   */
  rebind(inside?: SocketAddress | string): void {
    for (const [key, mapping] of this.#byInside) {
      const isAffected =
        inside === undefined ||
        (typeof inside === "string"
          ? mapping.inside.address === inside
          : mapping.inside.equals(inside));
      if (!isAffected) continue;
      this.#byInside.delete(key);
      this.#byPort.delete(mapping.outside.port);
    }
  }

  /** Returns the address that the other hosts see for a socket; absent if there is no mapping. */
  mappingOf(inside: SocketAddress): SocketAddress | undefined {
    return this.#byInside.get(inside.toString())?.outside;
  }

  /** @internal Returns whether a host is behind the NAT. */
  _hasInside(address: string): boolean {
    return this.#inside.has(address);
  }

  /** @internal Returns the source address of a datagram from inside to outside. */
  _translateOut(from: SocketAddress, to: SocketAddress): SocketAddress {
    const key = from.toString();
    let mapping = this.#byInside.get(key);
    if (mapping === undefined) {
      const outside = SocketAddress.ip(this.#outside, this.#newPort());
      mapping = { inside: from, outside, peers: new Set() };
      this.#byInside.set(key, mapping);
      this.#byPort.set(outside.port, mapping);
    }
    mapping.peers.add(to.toString());
    return mapping.outside;
  }

  /** @internal Returns the destination of a datagram from outside; absent if it is dropped. */
  _translateIn(from: SocketAddress, port: number): SocketAddress | undefined {
    const mapping = this.#byPort.get(port);
    if (mapping === undefined) return undefined;
    if (this.#filter === "peer" && !mapping.peers.has(from.toString())) return undefined;
    return mapping.inside;
  }

  /** @internal Returns the socket that has a port now; absent if none has. */
  _insideOf(port: number): SocketAddress | undefined {
    return this.#byPort.get(port)?.inside;
  }

  #newPort(): number {
    const ports = PORT_MAX - PORT_MIN + 1;
    if (this.#usedPorts.size === ports) {
      throw rangeError("nat", `fewer than ${ports} mappings`, "more");
    }
    let port = this.#random.integer(PORT_MIN, PORT_MAX);
    while (this.#usedPorts.has(port)) port = port === PORT_MAX ? PORT_MIN : port + 1;
    this.#usedPorts.add(port);
    return port;
  }
}
