/** The limit of open descriptors, which some tests would exceed (RLIMIT_NOFILE). */

import { readdirSync, readFileSync } from "node:fs";

/** What Bun and the library open in the meantime, such as files and notifiers. */
const SPARE = 60;

/** Returns the number of descriptors that a test may open. */
export function descriptorsLeft(): number {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const soft = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  const limit = soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
  return limit - readdirSync("/proc/self/fd").length - SPARE;
}
