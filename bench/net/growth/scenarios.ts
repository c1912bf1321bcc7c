/** What a datagram costs as things grow: one point each, in one round. */

import { join } from "node:path";
import { BATCHES, BUN, type Contender, DEFAULTS } from "../contenders.ts";
import { BATCH_VARIABLE, DEFAULT_DATAGRAM_BYTES } from "../datagrams.ts";
import {
  type Figures,
  measureSender,
  measureSinkDrain,
  measureSinks,
  throughput,
} from "../measures.ts";
import { type Program, startEverywhere, startLoad, startRole } from "../processes.ts";
import { at, each, type Place, type Scenario } from "../scenario.ts";

const BYTES = DEFAULT_DATAGRAM_BYTES;
/** Of each of many sockets: a batch of 64 for each would take most of a machine's memory. */
const BATCH_OF_MANY_SOCKETS = 8;
/** Flows that the kernel spreads over a group of sockets by their addresses. */
const FLOOD_SOCKETS = 16;

function axis(name: string, values: readonly number[]): readonly Place[] {
  return values.map((value) => ({ bytes: BYTES, [name]: value }));
}

const BATCHES_OF = axis("batch", [1, 4, 16, 64, 256, 1024]);
/** `Bun.udpSocket` counts wrongly what it sent of batches longer than this. */
const BUN_BATCH_MAX = 204;

const sendBatch: Scenario = {
  suite: "growth",
  name: "send, batch size",
  // A curve has many points.
  rounds: () => 1,
  places: BATCHES_OF,
  contenders: [BUN, BATCHES, DEFAULTS],
  takesPart: (contender, place) => contender !== BUN || at(place, "batch") <= BUN_BATCH_MAX,
  measure: each((contender, place, { seconds }) =>
    measureSender(inBatches(contender, at(place, "batch")), { bytes: BYTES, seconds, peers: 1 }),
  ),
};

const receiveBatch: Scenario = {
  ...sendBatch,
  name: "receive, batch size",
  contenders: [DEFAULTS],
  measure: each((contender, place, { laps }) =>
    measureSinkDrain(inBatches(contender, at(place, "batch")), { bytes: BYTES, laps }),
  ),
};

const sockets: Scenario = {
  ...sendBatch,
  name: "receive, sockets",
  places: axis("sockets", [1, 10, 100, 1000]),
  contenders: [BUN, DEFAULTS],
  takesPart: () => true,
  measure: each((contender, place, { seconds }) =>
    measureSinks(inBatches(contender, BATCH_OF_MANY_SOCKETS), {
      bytes: BYTES,
      seconds,
      sockets: at(place, "sockets"),
    }),
  ),
};

const flowTable: Scenario = {
  ...sockets,
  name: "flow table",
  places: axis("flows", [1, 10, 100, 1000, 10_000, 100_000]),
  contenders: [DEFAULTS],
  measure: each(async (_contender, place) => {
    const program = onBun("flow-table.ts");
    await using running = startRole(program, { bytes: BYTES }, at(place, "flows"));
    return (await running.next()) as Figures;
  }),
};

/** On all processors: the load takes what the workers leave. */
const workers: Scenario = {
  ...sockets,
  name: "receive, workers with reusePort",
  places: axis("workers", [1, 2]),
  contenders: [DEFAULTS],
  measure: each(async (contender, place, { seconds }) => {
    const program = { ...contender, ...onBun("workers.ts") };
    await using running = startEverywhere(program, BYTES, at(place, "workers"), seconds);
    const { port } = await running.next();
    await using _flood = startLoad(BYTES, "flood", port as number, FLOOD_SOCKETS);
    return throughput(await running.next(), BYTES);
  }),
};

export const GROWTH: readonly Scenario[] = [sendBatch, receiveBatch, sockets, flowTable, workers];

function inBatches(contender: Contender, batch: number): Program {
  return { ...contender, env: { ...contender.env, [BATCH_VARIABLE]: String(batch) } };
}

function onBun(file: string): Program {
  return { command: () => [process.execPath, join(import.meta.dir, file)] };
}
