/**
 * Replaces a loaded echo server ten times by passing its socket, and ten times within a group of
 * sockets that share the port. The exit code is 0 if no request was lost and none answered twice, 1 if
 * one was, and 77 if the system has no native backend.
 */

import { UdpSocket } from "../../lib/index.ts";
import { faultsOf, type Outcome, replaceServers } from "./replace.ts";

const REPLACEMENTS = 10;
const INTERVAL_MS = 100;

/** Returns why this system cannot run the demonstration; absent if it can. */
async function reasonToSkip(): Promise<string | undefined> {
  try {
    (await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" })).close();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

function textOf({ way, replacements, load }: Outcome): string {
  const { requests, answered, lost, twice, longestPauseMs } = load;
  return (
    `${replacements} by ${way}: ${requests} requests, ${answered} answered, ${lost} lost, ` +
    `${twice} answered twice, longest pause ${Math.round(longestPauseMs)} ms`
  );
}

async function main(): Promise<number> {
  const reason = await reasonToSkip();
  if (reason !== undefined) {
    console.log(`restart: skipped, the native backend is needed: ${reason}`);
    return 77;
  }
  const outcomes: Outcome[] = [];
  for (const way of ["descriptors", "reuseport"] as const) {
    outcomes.push(
      await replaceServers({ way, replacements: REPLACEMENTS, intervalMs: INTERVAL_MS }),
    );
  }
  const faults = outcomes.flatMap((outcome) =>
    faultsOf(outcome).map((fault) => `${outcome.way}: ${fault}`),
  );
  for (const fault of faults) console.error(fault);
  const verdict = faults.length === 0 ? "ok" : "FAILED";
  console.log(`restart ${verdict}: replaced ${outcomes.map(textOf).join("; ")}`);
  return faults.length === 0 ? 0 : 1;
}

process.exitCode = await main();
