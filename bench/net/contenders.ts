/** Who takes part in the network benchmarks, and what starts them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed } from "../machine.ts";
import { MEMORY_VARIABLE } from "./datagrams.ts";
import type { Program } from "./processes.ts";
import { peerBundle, peerSource, referencePath } from "./programs.ts";

/** A program with a name in tables. */
export interface Contender extends Program {
  readonly name: string;
  /** Why it cannot take part here; absent: it can. */
  readonly missing?: string;
}

const onBun = (file: string) => () => [process.execPath, peerSource(file)];

/** `recvMany` and `sendMany`, and all defaults. */
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
/** Sends what lies in one buffer, one datagram behind the other, as the C programs do. */
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
/** Where Bun's event loop cannot be joined. */
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
  ...absentUnless(Bun.which("node"), "node is not installed"),
};

const deno = installed("deno");
export const DENO: Contender = {
  name: "Deno.listenDatagram",
  command: () => [deno ?? "deno", "run", "--quiet", "-A", "--unstable-net", peerBundle("deno.ts")],
  ...absentUnless(deno, "run npm install --prefix bench"),
};
export const UNIX_DGRAM: Contender = {
  name: "unix-dgram on Node",
  command: () => ["node", peerBundle("unix-dgram.ts")],
  ...absentUnless(
    existsSync(join(import.meta.dir, "../node_modules/unix-dgram/build/Release/unix_dgram.node")),
    "its addon is not built: npm install --prefix bench, with a C++ compiler at hand",
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
export const C_UNIX: Contender = {
  name: "C, recvmmsg/sendmmsg",
  command: (bytes) => [referencePath(bytes), "unix"],
};

/** Those that are not this library, nor C. */
export const JAVASCRIPT: readonly Contender[] = [BUN, DGRAM_ON_BUN, DGRAM_ON_NODE, DENO];

function absentUnless(there: unknown, missing: string): { readonly missing?: string } {
  return there ? {} : { missing };
}
