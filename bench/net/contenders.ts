/** The programs that take part in the network benchmarks, and the commands that start them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed } from "../machine.ts";
import { BATCH_VARIABLE, MEMORY_VARIABLE, ORDER_VARIABLE } from "./datagrams.ts";
import type { Program } from "./processes.ts";
import { peerBundle, peerSource, referencePath } from "./programs.ts";
import { installPublished, publishedPeer } from "./published.ts";

/** A program with a name for tables. */
export interface Contender extends Program {
  readonly name: string;
  /** Why it cannot run on this machine. Absent if it can. */
  readonly missing?: string;
  /** Called once before it is measured. */
  readonly prepare?: () => Promise<void>;
}

const onBun = (file: string) => () => [process.execPath, peerSource(file)];

/** `recvMany` and `sendMany` with all defaults. */
export const DEFAULTS: Contender = {
  name: "datagram-socket",
  command: onBun("datagram-socket.ts"),
  env: { DATAGRAM_SOCKET_OFFLOAD: "on" },
};
/** `recvBatch` and `sendBatch`. */
export const BATCHES: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, batches",
  command: onBun("datagram-socket-batch.ts"),
};
/** The defaults, of the package as it is published. */
export const PUBLISHED: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, published package",
  command: () => [process.execPath, publishedPeer("datagram-socket.ts")],
  prepare: installPublished,
  ...missingUnless(Bun.which("npm"), "npm is not installed"),
};
/** `recvFrom` and `sendTo`. */
export const SINGLE: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, single datagrams",
  command: onBun("datagram-socket-single.ts"),
};
/** `batches()` and `sendMany`. */
export const ITERATOR: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, batches()",
  command: onBun("datagram-socket-iterator.ts"),
};
/** `sendMany` of datagrams that are adjacent in one buffer, as in the C programs. */
export const ONE_BUFFER: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, one buffer",
  env: { ...DEFAULTS.env, [MEMORY_VARIABLE]: "one buffer" },
};
export const OFFLOAD_OFF: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, offload off",
  env: { DATAGRAM_SOCKET_OFFLOAD: "off" },
};
export const PORTABLE: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, portable",
  env: { DATAGRAM_SOCKET_BACKEND: "portable" },
};
/** The readiness mode for systems where Bun's event loop cannot watch the epoll instance. */
export const THREAD: Contender = {
  ...DEFAULTS,
  name: "datagram-socket, helper thread",
  env: { DATAGRAM_SOCKET_READINESS: "thread" },
};

export const BUN: Contender = { name: "Bun.udpSocket", command: onBun("bun-udp-socket.ts") };
export const DGRAM_ON_BUN: Contender = {
  name: "node:dgram on Bun",
  command: onBun("node-dgram.ts"),
};
export const DGRAM_ON_NODE: Contender = {
  name: "node:dgram on Node",
  command: () => ["node", peerBundle("node-dgram.ts")],
  ...missingUnless(Bun.which("node"), "node is not installed"),
};

const deno = installed("deno");
export const DENO: Contender = {
  name: "Deno.listenDatagram",
  command: () => [deno ?? "deno", "run", "--quiet", "-A", "--unstable-net", peerBundle("deno.ts")],
  ...missingUnless(deno, "run npm install --prefix bench"),
};
export const UNIX_DGRAM: Contender = {
  name: "unix-dgram on Node",
  command: () => ["node", peerBundle("unix-dgram.ts")],
  ...missingUnless(
    existsSync(join(import.meta.dir, "../node_modules/unix-dgram/build/Release/unix_dgram.node")),
    "its addon is not built: run npm install --prefix bench, which needs a C++ compiler",
  ),
};

export const C_PLAIN: Contender = {
  name: "C, recvmmsg/sendmmsg",
  command: (bytes) => [referencePath(bytes), "plain"],
};
export const C_OFFLOAD: Contender = {
  name: "C, GRO/GSO",
  command: (bytes) => [referencePath(bytes), "offload"],
};
/** The same with a buffer for each datagram, as in the arrays of `recvMany` and `sendMany`. */
export const C_SEPARATE: Contender = {
  name: "C, GRO/GSO, a buffer each",
  command: (bytes) => [referencePath(bytes), "separate"],
};
export const C_UNIX: Contender = {
  name: "C, recvmmsg/sendmmsg",
  command: (bytes) => [referencePath(bytes), "unix"],
};

/** The UDP APIs of JavaScript runtimes that this library is compared with. */
export const JAVASCRIPT: readonly Contender[] = [BUN, DGRAM_ON_BUN, DGRAM_ON_NODE, DENO];

/** Returns the program of a contender with batches of another size. */
export function withBatchSize(contender: Contender, batch: number): Program {
  return { ...contender, env: { ...contender.env, [BATCH_VARIABLE]: String(batch) } };
}

/** Returns a program that sends each batch grouped by peer, instead of to the peers in turn. */
export function grouped(program: Program): Program {
  return { ...program, env: { ...program.env, [ORDER_VARIABLE]: "grouped" } };
}

function missingUnless(condition: unknown, missing: string): { readonly missing?: string } {
  return condition ? {} : { missing };
}
