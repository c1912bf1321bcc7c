/** Paths: the pairs of addresses that a connection uses (RFC 9000 section 9). */

import { SocketAddress } from "../../lib/index.ts";
import type { HostPort, RecvInfo } from "./quiche.ts";

/** A path. quiche reads its `info`, so that a packet needs no new object. */
export interface Path {
  readonly local: SocketAddress;
  readonly peer: SocketAddress;
  readonly info: RecvInfo;
}

/** Makes a path. */
export function makePath(local: SocketAddress, peer: SocketAddress): Path {
  return { local, peer, info: { from: toHostPort(peer), to: toHostPort(local) } };
}

/** Returns an address in the format of quiche. */
export function toHostPort({ address, port }: SocketAddress): HostPort {
  return { host: address, port };
}

/** The maximum number of paths of a connection. The oldest makes room for another. */
const PATHS_MAX = 8;

/** The paths of one connection, the current one and those that are being validated. */
export class PathSet {
  /** The path of the latest packet that was received or sent. */
  latest: Path;
  readonly #paths: Path[];

  constructor(first: Path) {
    this.latest = first;
    this.#paths = [first];
  }

  /** Whether all packets use the same path. */
  get isSingle(): boolean {
    return this.#paths.length === 1;
  }

  /** Returns the path between two addresses, which becomes the latest. */
  find(local: SocketAddress, peer: SocketAddress): Path {
    const { latest } = this;
    if (latest.peer === peer && latest.local === local) return latest;
    const known = this.#paths.find((path) => path.peer.equals(peer) && path.local.equals(local));
    this.latest = known ?? this.#add(makePath(local, peer));
    return this.latest;
  }

  /** Returns the path between two addresses in the format of quiche, as `find` does. */
  findHosts(local: HostPort, peer: HostPort): Path {
    if (isBetween(this.latest, local, peer)) return this.latest;
    const known = this.#paths.find((path) => isBetween(path, local, peer));
    this.latest =
      known ??
      this.#add(
        makePath(SocketAddress.ip(local.host, local.port), SocketAddress.ip(peer.host, peer.port)),
      );
    return this.latest;
  }

  #add(path: Path): Path {
    if (this.#paths.length === PATHS_MAX) this.#paths.shift();
    this.#paths.push(path);
    return path;
  }
}

function isBetween({ info }: Path, local: HostPort, peer: HostPort): boolean {
  return (
    info.from.port === peer.port &&
    info.to.port === local.port &&
    info.from.host === peer.host &&
    info.to.host === local.host
  );
}
