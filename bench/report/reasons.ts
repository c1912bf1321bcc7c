/**
 * Why a target is missed, for the table of targets. The figures are measured; that a reason is
 * given for each missed target, and for no other, bench:report checks.
 */

import type { Target } from "../targets.ts";

/** Of all targets of a path, or of those that also have this figure and are held against this peer. */
export interface Reason {
  readonly path: string;
  readonly figure?: string;
  readonly against?: string;
  readonly reason: string;
}

export const REASONS: readonly Reason[] = [];

/** The first that fits a target. */
export function reasonOf({ path, figure, against }: Target): Reason | undefined {
  return REASONS.find(
    (one) =>
      one.path === path &&
      (one.figure ?? figure) === figure &&
      (one.against ?? against) === against,
  );
}
