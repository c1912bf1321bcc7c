/**
 * Why a target is missed, for the table of targets: the one thing there that people write. Whether
 * each missed target has a reason, and each reason a target that is missed, bench:report tells.
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

export const REASONS: readonly Reason[] = [];

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
