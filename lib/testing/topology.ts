/** What connects the hosts of a simulated network: links, partitions and NATs. */

import { SocketAddress } from "../address/socket-address.ts";
import {
  DEFAULT_LINK,
  Link,
  type LinkOptions,
  type LinkSettings,
  withLinkOptions,
} from "./link.ts";
import { type NatOptions, SimNat } from "./nat.ts";
import type { SimRandom } from "./random.ts";

/** A separation of two groups of hosts. `using` heals it. */
export interface Partition extends Disposable {
  /** Ends it. Idempotent. */
  heal(): void;
}

/** Links, partitions and NATs, by the addresses of hosts. */
export class Topology {
  readonly #links = new Map<string, Map<string, Link>>();
  readonly #partitions = new Set<readonly [ReadonlySet<string>, ReadonlySet<string>]>();
  readonly #nats: SimNat[] = [];
  readonly #defaults: LinkSettings;
  readonly #random: SimRandom;

  constructor(link: LinkOptions, random: SimRandom) {
    this.#defaults = withLinkOptions(DEFAULT_LINK, link);
    this.#random = random;
  }

  /** Returns the link from one host to another. */
  linkBetween(from: string, to: string): Link {
    let links = this.#links.get(from);
    if (links === undefined) {
      links = new Map();
      this.#links.set(from, links);
    }
    let link = links.get(to);
    if (link === undefined) {
      link = new Link(this.#defaults, this.#random.fork(`link ${from} ${to}`));
      links.set(to, link);
    }
    return link;
  }

  setLink(from: string, to: string, options: LinkOptions): void {
    const link = this.linkBetween(normalize(from), normalize(to));
    link.settings = withLinkOptions(link.settings, options);
  }

  partition(some: readonly string[], others: readonly string[]): Partition {
    const groups = [new Set(some.map(normalize)), new Set(others.map(normalize))] as const;
    this.#partitions.add(groups);
    const heal = (): void => {
      this.#partitions.delete(groups);
    };
    return { heal, [Symbol.dispose]: heal };
  }

  /** Returns whether a partition separates two hosts. */
  isSeparated(a: string, b: string): boolean {
    for (const [some, others] of this.#partitions) {
      if ((some.has(a) && others.has(b)) || (some.has(b) && others.has(a))) return true;
    }
    return false;
  }

  addNat(options: NatOptions): SimNat {
    const nat = new SimNat(options, this.#random.fork(`nat ${options.outside}`));
    this.#nats.push(nat);
    return nat;
  }

  /** Returns the NAT that a host is behind. */
  natOfInside(address: string): SimNat | undefined {
    return this.#nats.find((nat) => nat._hasInside(address));
  }

  /** Returns the NAT that has an outside address. */
  natOfOutside(address: string): SimNat | undefined {
    return this.#nats.find((nat) => nat.outside === address);
  }
}

function normalize(address: string): string {
  return SocketAddress.ip(address, 0).address;
}
