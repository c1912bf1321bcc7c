/**
 * Why a target is missed, for the table of targets, and what is to be known of a scenario: all that
 * people write there. Whether each missed target has a reason, and each reason a target that is
 * missed, bench:report tells.
 */

import type { Target } from "../targets.ts";

/** Of all targets of a path, or of those among them that also have what else is said. */
export interface Reason {
  /** The target's path; of a worst place, without the place: `receive, worst`. */
  readonly path: string;
  readonly ours?: string;
  readonly figure?: string;
  readonly against?: string;
  /** What stands behind "missed:" in the table. */
  readonly reason: string;
}

const FLOODED =
  "the receiver is faster than what floods it: a call finds some ten datagrams, or the queue empty, " +
  "and its own cost is theirs";

const WITHIN_NOISE = "at the limit: above it in some runs, below in others";

export const REASONS: readonly Reason[] = [
  {
    path: "receive, offload off",
    against: "Bun.udpSocket",
    reason:
      "nearly all of a datagram's cost is the kernel's, which is the same for both; C itself is not " +
      "twice as fast as Bun here, nor is what the flood sends",
  },
  { path: "receive, offload off", against: "C, recvmmsg/sendmmsg", reason: WITHIN_NOISE },
  { path: "receive, flood", figure: "userUs", reason: FLOODED },
  {
    path: "receive, full queue",
    figure: "userUs",
    reason:
      "0.076 after six times as many laps: compilers are at work in the background until then",
  },
  {
    path: "receive, full queue",
    ours: "datagram-socket",
    figure: "ns",
    reason:
      "the kernel leaves coalesced datagrams in one piece: copying each of 1,200 bytes to a buffer " +
      "of the caller's takes 25 ns, half of all that C does; scattering them by the kernel takes more",
  },
  { path: "idle", figure: "p99Us", reason: WITHIN_NOISE },
  {
    path: "echo, idle, worst",
    figure: "cpuUs",
    reason:
      "an answer that is waited for costs a promise, and a wake-up the look at two epoll instances " +
      "instead of one",
  },
  {
    path: "send 64 to one peer",
    ours: "datagram-socket",
    against: "C, GRO/GSO",
    reason:
      "gathering 64 buffers takes the kernel more than sending one flat one, in C as well (0.82); " +
      "buffers that lie one behind the other go as one: see the next line",
  },
  {
    path: "start",
    figure: "ms",
    reason:
      "loading some sixty modules is half of it, compiling the shim a sixth; bundled into one file " +
      "it takes 3 to 6 ms less",
  },
];

/** By scenario, what its table does not tell. */
export const REMARKS: Readonly<Record<string, string>> = {
  "receive, workers with reusePort":
    "What floods them runs on the same processors: where there are two, a second worker takes " +
    "from the flood what it would receive.",
};

/** The first that fits a target. */
export function reasonOf(target: Target): Reason | undefined {
  return REASONS.find(
    ({ path, ours, figure, against }) =>
      (path === target.path || target.path.startsWith(`${path}:`)) &&
      (ours ?? target.ours) === target.ours &&
      (figure ?? target.figure) === target.figure &&
      (against ?? target.against) === target.against,
  );
}
