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

/** Finds who watches `fd`; of an event loop each, exactly one does. Absent: nobody seen to. */
export function findWatch(fd: number): Watch | undefined {
  const entry = new RegExp(`^tfd: +${fd} events: +[0-9a-f]+ data: +([0-9a-f]+)`, "m");
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) !== "anon_inode:[eventpoll]") continue;
      const data = entry.exec(readFileSync(`/proc/self/fdinfo/${name}`, "latin1"))?.[1];
      if (data !== undefined) return { epoll: Number(name), data: BigInt(`0x${data}`) };
    } catch {
      // Closed meanwhile, by another thread or as the one that lists the folder.
    }
  }
  return undefined;
}
