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
      "4 KiB are the objects of a socket: engine, reactor, counters, queues. The garbage-collected " +
      "heap keeps as much again, from the burst and between objects. Vectors and batches are " +
      "released. The figure is older than that, and includes 8 MiB of compiled code: now 10 KiB",
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
