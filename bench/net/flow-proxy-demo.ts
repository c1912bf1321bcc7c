/** The demo of the example flow proxy: both halves, the load generator and the origin in a process. */

import { join } from "node:path";
import type { EndpointSnapshot } from "../../examples/flow-proxy/counters.ts";
import { datagramsTransferred, messagesTransferred } from "../../examples/flow-proxy/counters.ts";
import { hasPassed, type LoadReport } from "../../examples/flow-proxy/load-generator.ts";
import { DEFAULTS } from "./contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";
import { startOnAllProcessors } from "./processes.ts";
import { measureEach, parameterOf, type Scenario } from "./scenario.ts";

const FILE = join(import.meta.dir, "../../examples/flow-proxy/main.ts");
/** The load must have reached its full rate: code is compiled meanwhile. */
const SECONDS_MIN = 2;

/** The summary that the demo prints. */
interface Summary {
  readonly seconds: number;
  readonly ingress: EndpointSnapshot;
  readonly egress: EndpointSnapshot;
  readonly load: LoadReport;
}

export const FLOW_PROXY_DEMO: Scenario = {
  suite: "net",
  name: "flow proxy demo",
  points: [{ clients: 64 }],
  contenders: [DEFAULTS],
  measure: measureEach(async ({ env = {} }, point, { seconds }) => {
    const clients = parameterOf(point, "clients");
    const duration = Math.max(SECONDS_MIN, seconds);
    const options = ["--json", "--clients", String(clients), "--duration", String(duration)];
    const program = { command: () => [process.execPath, FILE, ...options], env };
    await using running = startOnAllProcessors(program, DEFAULT_DATAGRAM_BYTES);
    const { ingress, egress, load, ...summary } = await running.next<Summary>();
    if (!hasPassed(load))
      throw new Error("the demo expected correct replies, got wrong ones or none");
    const halves = [ingress, egress];
    const transferred = sum(halves.map(datagramsTransferred));
    return {
      rate: sum(halves.map(datagramsSent)) / summary.seconds,
      datagramsPerMessage: transferred / sum(halves.map(messagesTransferred)),
      arrived: load.replies / load.requests,
    };
  }),
};

/** Returns the number of datagrams that a half forwarded, in both directions. */
function datagramsSent({ toUpstream, toClients }: EndpointSnapshot): number {
  return toUpstream.datagrams + toClients.datagrams;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
