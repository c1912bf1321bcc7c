/**
 * The growth scenarios: the cost per datagram as a parameter grows. A curve has many points, so
 * each point is measured in one round.
 */

import { join } from "node:path";
import {
  BATCHES,
  BUN,
  C_OFFLOAD,
  DEFAULTS,
  ITERATOR,
  SINGLE,
  withBatchSize,
} from "../contenders.ts";
import { DEFAULT_DATAGRAM_BYTES, LARGE_BATCH } from "../datagrams.ts";
import {
  type Figures,
  measureFlows,
  measureSender,
  measureSinkDrain,
  measureSinks,
  throughput,
} from "../measures.ts";
import { type Program, startLoad, startOnAllProcessors, startRole } from "../processes.ts";
import { measureEach, type Point, parameterOf, type Scenario } from "../scenario.ts";

const BYTES = DEFAULT_DATAGRAM_BYTES;
/** The batch size of each of many sockets: with 64, they would use most of a machine's memory. */
const BATCH_OF_MANY_SOCKETS = 8;
/** The number of flows, which the kernel distributes over the sockets of an SO_REUSEPORT group. */
const FLOOD_SOCKETS = 16;

function pointsOf(parameter: string, values: readonly number[]): readonly Point[] {
  return values.map((value) => ({ bytes: BYTES, [parameter]: value }));
}

const BATCH_SIZES = pointsOf("batch", [1, 4, 16, 64, 256, 1024]);
/** `Bun.udpSocket` returns a wrong number of sent datagrams for longer batches. */
const BUN_BATCH_MAX = 204;

const sendBatch: Scenario = {
  suite: "growth",
  name: "send, batch size",
  rounds: () => 1,
  points: BATCH_SIZES,
  contenders: [BUN, BATCHES, DEFAULTS],
  takesPart: (contender, point) =>
    contender !== BUN || parameterOf(point, "batch") <= BUN_BATCH_MAX,
  measure: measureEach((contender, point, { seconds }) =>
    measureSender(withBatchSize(contender, parameterOf(point, "batch")), {
      bytes: BYTES,
      seconds,
      peers: 1,
    }),
  ),
};

const receiveBatch: Scenario = {
  ...sendBatch,
  name: "receive, batch size",
  contenders: [DEFAULTS],
  measure: measureEach((contender, point, { laps }) =>
    measureSinkDrain(withBatchSize(contender, parameterOf(point, "batch")), {
      bytes: BYTES,
      laps,
    }),
  ),
};

/** Batches to many peers in turn. The C program groups them by peer. */
const interleavedPeers: Scenario = {
  ...sendBatch,
  name: "interleaved peers, 1 to 1024",
  points: pointsOf("peers", [1, 4, 16, 64, 256, 1024]),
  contenders: [BUN, C_OFFLOAD, DEFAULTS, BATCHES],
  takesPart: () => true,
  measure: measureEach((contender, point, { seconds }) =>
    measureSender(withBatchSize(contender, LARGE_BATCH), {
      bytes: BYTES,
      seconds,
      peers: parameterOf(point, "peers"),
    }),
  ),
};

const clients: Scenario = {
  ...sendBatch,
  name: "echo to clients, 1 to 1024",
  points: [1, 4, 16, 64, 256, 1024].map((flows) => ({ bytes: 64, flows })),
  contenders: [BUN, SINGLE, ITERATOR],
  takesPart: () => true,
  measure: measureEach((contender, point, { seconds }) =>
    measureFlows(contender, { bytes: 64, flows: parameterOf(point, "flows"), seconds }),
  ),
};

const sockets: Scenario = {
  ...sendBatch,
  name: "receive, sockets",
  points: pointsOf("sockets", [1, 10, 100, 1000]),
  contenders: [BUN, DEFAULTS],
  takesPart: () => true,
  measure: measureEach((contender, point, { seconds }) =>
    measureSinks(withBatchSize(contender, BATCH_OF_MANY_SOCKETS), {
      bytes: BYTES,
      seconds,
      sockets: parameterOf(point, "sockets"),
    }),
  ),
};

const flowTable: Scenario = {
  ...sockets,
  name: "flow table",
  points: pointsOf("flows", [1, 10, 100, 1000, 10_000, 100_000]),
  contenders: [DEFAULTS],
  measure: measureEach(async (_contender, point) => {
    const program = programOnBun("flow-table.ts");
    await using running = startRole(program, { bytes: BYTES }, parameterOf(point, "flows"));
    return (await running.next()) as Figures;
  }),
};

/** The workers run on all processors. The load runs on a half of them at the same time. */
const workers: Scenario = {
  ...sockets,
  name: "receive, workers with reusePort",
  points: pointsOf("workers", [1, 2]),
  contenders: [DEFAULTS],
  measure: measureEach(async (contender, point, { seconds }) => {
    const program = { ...contender, ...programOnBun("workers.ts") };
    const count = parameterOf(point, "workers");
    await using running = startOnAllProcessors(program, BYTES, count, seconds);
    const { port } = await running.next();
    await using _flood = startLoad(BYTES, "flood", port as number, FLOOD_SOCKETS);
    return throughput(await running.next(), BYTES);
  }),
};

export const GROWTH_SCENARIOS: readonly Scenario[] = [
  sendBatch,
  receiveBatch,
  interleavedPeers,
  clients,
  sockets,
  flowTable,
  workers,
];

function programOnBun(file: string): Program {
  return { command: () => [process.execPath, join(import.meta.dir, file)] };
}
