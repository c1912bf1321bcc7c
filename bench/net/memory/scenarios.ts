/** The memory of sockets that have been used and are idle, or closed. */

import { join } from "node:path";
import { BUN, type Contender, DEFAULTS } from "../contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "../datagrams.ts";
import type { Figures } from "../measures.ts";
import { startOnAllProcessors } from "../processes.ts";
import { measureEach, parameterOf, type Scenario } from "../scenario.ts";

const BYTES = DEFAULT_DATAGRAM_BYTES;
const FILE = join(import.meta.dir, "sockets.ts");

const withMemoryProgram = (contender: Contender, api: "library" | "bun"): Contender => ({
  ...contender,
  command: () => [process.execPath, FILE, api],
});

async function grownBytes(
  contender: Contender,
  sockets: number,
): Promise<{ open: number; closed: number }> {
  await using running = startOnAllProcessors(contender, BYTES, sockets);
  return await running.next();
}

/** After one burst through each. */
export const IDLE_SOCKETS: Scenario = {
  suite: "net",
  name: "memory of idle sockets",
  // Memory varies little, and each sample waits for the release of idle memory.
  rounds: () => 1,
  points: [{ sockets: 1000 }],
  contenders: [withMemoryProgram(BUN, "bun"), withMemoryProgram(DEFAULTS, "library")],
  measure: measureEach(async (contender, point): Promise<Figures> => {
    const sockets = parameterOf(point, "sockets");
    const { open } = await grownBytes(contender, sockets);
    return { perSocketKiB: open / sockets / 1024 };
  }),
};

export const CLOSED_SOCKETS: Scenario = {
  ...IDLE_SOCKETS,
  name: "memory after closing sockets",
  points: [{ sockets: 300 }],
  measure: measureEach(async (contender, point): Promise<Figures> => {
    const { closed } = await grownBytes(contender, parameterOf(point, "sockets"));
    return { retainedMiB: closed / 2 ** 20 };
  }),
};
