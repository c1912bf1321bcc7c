/**
 * How Bun's event loop watches a descriptor: which epoll instance it is, and what it is told of
 * the descriptor. Bun does not say, but the kernel does (proc(5), `/proc/self/fdinfo`).
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** An entry of an epoll instance. */
export interface Watch {
  /** The epoll instance. */
  readonly epoll: number;
  /** What it tells when the descriptor is ready (`epoll_data`). */
  readonly data: bigint;
}

/**
 * Finds who watches `fd`. Absent where that cannot be seen, or is not certain: an entry outlives
 * its descriptor while a duplicate is open, and the number may be another's by then.
 */
export function findWatch(fd: number): Watch | undefined {
  const entries = new RegExp(`^tfd: +${fd} events: +[0-9a-f]+ data: +([0-9a-f]+)`, "gm");
  const found: Watch[] = [];
  for (const name of list("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) !== "anon_inode:[eventpoll]") continue;
      const info = readFileSync(`/proc/self/fdinfo/${name}`, "latin1");
      for (const [, data] of info.matchAll(entries)) {
        found.push({ epoll: Number(name), data: BigInt(`0x${data}`) });
      }
    } catch {
      // Closed meanwhile, by another thread or as the one that lists the folder.
    }
  }
  return found.length === 1 ? found[0] : undefined;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
