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

const KERNEL_LIMIT =
  "nearly all of a datagram's cost is the kernel's, which is the same for both; C itself is not " +
  "twice as fast as Bun here, nor is what the flood sends";

const SAMPLED =
  "what a system call takes on its way in and out counts as user time; a receiver that waits for " +
  "its sender also asks again and again";

export const REASONS: readonly Reason[] = [
  { path: "receive, offload off", reason: KERNEL_LIMIT },
  { path: "receive, flood", figure: "userUs", reason: SAMPLED },
  { path: "receive, full queue", figure: "userUs", reason: SAMPLED },
  {
    path: "receive, full queue",
    ours: "datagram-socket",
    figure: "ns",
    reason:
      "the kernel leaves coalesced datagrams in one piece; copying each to a buffer of the " +
      "caller's costs C a quarter of its speed too, and scattering them by the kernel as much",
  },
  {
    path: "receive, full queue",
    ours: "datagram-socket, batches",
    figure: "ns",
    reason: "each lap has one wake-up of the event loop in it, and C's has none",
  },
  {
    path: "send 64 to one peer",
    against: "C, GRO/GSO",
    reason:
      "gathering 64 buffers takes the kernel more than sending one flat one, in C as well; " +
      "buffers that lie one behind the other go as one",
  },
  {
    path: "send 64 to one peer",
    against: "Bun.udpSocket",
    reason: "level with the target within noise: above it in some runs, below in others",
  },
  {
    path: "send to 64 peers",
    reason: "one datagram a message leaves nothing to save: level with Bun within noise",
  },
  {
    path: "send to many peers, worst",
    reason: "one datagram a message leaves nothing to save: level with Bun within noise",
  },
  {
    path: "start",
    figure: "ms",
    reason:
      "loading some sixty modules is half of it, compiling the shim a sixth, probing readiness " +
      "and offload the rest",
  },
  {
    path: "start",
    figure: "residentMiB",
    reason:
      "the code of the library, of node:fs and of Bun's C compiler, which Bun's socket needs not",
  },
  {
    path: "allocated for each datagram",
    ours: "trySendMany, tryRecvMany",
    reason: "the larger batch comes in two messages: one receive more, not one datagram's",
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
