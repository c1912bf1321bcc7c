/** What all probes have in common. */

import type { Finding } from "./report.ts";

/** How long a probe waits for a datagram. Loopback delivers it before the send returns. */
export const RECEIVE_LIMIT_MS = 1000;

/** Runs a probe. An error means that the feature does not work. */
export async function probe(run: () => Promise<Finding>): Promise<Finding> {
  try {
    return await run();
  } catch (error) {
    return { works: false, detail: errorText(error) };
  }
}

/** Returns the finding of a feature that works. */
export function works(detail: string): Finding {
  return { works: true, detail };
}

/** Returns the message of an error, in one line. */
export function errorText(error: unknown): string {
  if ((error as Partial<Error> | undefined)?.name === "TimeoutError") {
    return `nothing arrived within ${RECEIVE_LIMIT_MS} ms`;
  }
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s*\n\s*/g, " ");
}
