/**
 * The text of the report that is written by hand: why targets are missed, and remarks on
 * scenarios. bench:report warns about missed targets without a reason, and about reasons for
 * targets that are not missed.
 */

import type { Target } from "../targets.ts";

/** A reason for all targets that match the given fields. */
export interface Reason {
  /** The target's path. Of a worst case, the part before the colon: `receive, worst`. */
  readonly path: string;
  readonly ours?: string;
  readonly figure?: string;
  readonly against?: string;
  /** The text after "missed:" in the table. */
  readonly reason: string;
}

const FLOODED =
  "the receiver is faster than the flood, so that a receive finds about ten datagrams, or none, " +
  "and the cost of the call is divided by few datagrams";

const WITHIN_NOISE = "at the limit: above it in some runs, below it in others";

const ONE_SEND_EACH =
  "one send for each reply bounds every program: a send to loopback takes 3.6 to 4 µs in C, and 4.3 " +
  "here with 4.6 in Bun. Without any promise, by polls, the echo takes 13.3 µs of both ends, with " +
  "promises 14.7 (before reading ahead 15.4), with the callback of Bun 12.9";

const SENDS_BOUND_BATCHES =
  "84 % of the server's time is sendmmsg and recvmmsg, as each reply has another destination. C with " +
  "the same two calls is 1.36 to 1.46 times as fast as Bun, and uses no time beside them. Polls " +
  "without promises or an iterator take as much processor time as batches(): 6.2 and 6.4 µs with 32 " +
  "clients, 5.8 and 5.8 with 256, on a busy machine. Receives that find nothing take 0.5 %, estimated";

export const REASONS: readonly Reason[] = [
  {
    path: "receive, offload off",
    against: "Bun.udpSocket",
    reason:
      "nearly all of the cost per datagram is in the kernel, and the same for both. C is not " +
      "twice as fast as Bun either, and the load does not send twice as much as Bun receives",
  },
  { path: "receive, offload off", against: "C, recvmmsg/sendmmsg", reason: WITHIN_NOISE },
  { path: "receive, flood", figure: "userUs", reason: FLOODED },
  {
    path: "receive, full queue",
    figure: "userUs",
    reason: "0.076 after six times as many laps, when the compiler threads of the runtime are idle",
  },
  {
    path: "receive, full queue",
    ours: "datagram-socket",
    figure: "ns",
    reason:
      "GRO delivers the datagrams as one message. Copying each of 1,200 bytes to a buffer of " +
      "the caller takes 25 ns, half of the total time of C. Scattering by the kernel takes longer",
  },
  { path: "echo to 32 clients", ours: "datagram-socket, single datagrams", reason: ONE_SEND_EACH },
  { path: "echo to 256 clients", ours: "datagram-socket, single datagrams", reason: ONE_SEND_EACH },
  {
    path: "echo to 32 clients",
    ours: "datagram-socket, batches()",
    reason: SENDS_BOUND_BATCHES,
  },
  {
    path: "echo to 256 clients",
    ours: "datagram-socket, batches()",
    reason: SENDS_BOUND_BATCHES,
  },
  {
    path: "tryAddPrefix and advance of 8 bytes",
    reason:
      "the checks and the fields take half of it without any copy. The engine copies single bytes, " +
      "each with a check of its bounds: without a loop 7.1 instead of 8.5 ns. Copies of 32 bits save " +
      "another 8 %, but need a DataView for each buffer and prefix",
  },
  { path: "idle", figure: "p99Us", reason: WITHIN_NOISE },
  {
    path: "echo, idle, worst",
    figure: "cpuUs",
    reason:
      "waiting for a datagram costs a promise, and a wake-up involves two epoll instances " +
      "instead of one",
  },
  {
    path: "send 64 to one peer",
    ours: "datagram-socket",
    against: "C, GRO/GSO",
    reason:
      "the kernel needs more time to gather 64 buffers than to send one, also in C (0.82). " +
      "Adjacent buffers are sent as one: see the next line",
  },
  {
    path: "1,000 idle sockets after a burst through each",
    figure: "perSocketKiB",
    reason:
      "4.9 KB are objects of the heap: about 60 of the engine, the reactor, counters and queues, and the " +
      "promises of the server that waits. The heap keeps as much again, from the burst and between " +
      "objects. Vectors, batches and wakers are released or created when they are needed. The " +
      "figure is older than that, and includes 8 MiB of compiled code: now 9 KiB",
  },
  {
    path: "start",
    figure: "ms",
    reason:
      "half of it is loading eighty modules, a sixth is compiling the shim. The published package " +
      "is a bundle",
  },
  {
    path: "start, published package",
    figure: "ms",
    reason:
      "parsing and evaluating the bundle takes a third, compiling the shim a quarter, of which " +
      "96 % remain for an empty file. No difference: a single file, a wrapping function, C " +
      "without comments. Short names save 1 to 5 %. A library that is compiled in advance would " +
      "save the quarter, but the package would need one for each system. Bytecode saves a third of " +
      "the time from the start of a program, but only the user can make it (docs/deployment.md)",
  },
];

/** Remarks on the tables of scenarios, by name. */
export const REMARKS: Readonly<Record<string, string>> = {
  "receive, workers with reusePort":
    "The load runs on the same processors. If there are two, a second worker slows down the load " +
    "that it receives from.",
};

/** Returns the first reason that matches a target. */
export function reasonOf(target: Target): Reason | undefined {
  return REASONS.find(
    ({ path, ours, figure, against }) =>
      (path === target.path || target.path.startsWith(`${path}:`)) &&
      (ours ?? target.ours) === target.ours &&
      (figure ?? target.figure) === target.figure &&
      (against ?? target.against) === target.against,
  );
}
