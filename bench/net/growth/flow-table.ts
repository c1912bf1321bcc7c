/**
 * Measures what the flow table of the example proxy costs per datagram: the lookup by the client's
 * address, and the update of the flow's last use. Visits the flows in an order that CPU caches
 * cannot predict.
 *
 *     flow-table.ts FLOWS
 */

import { FlowEntry, FlowTable } from "../../../examples/flow-proxy/flow-table.ts";
import { hostOf } from "../../../examples/flow-proxy/host-flows.ts";
import { AddressMap, SocketAddress } from "../../../lib/index.ts";
import { median } from "../../statistics.ts";

const DATAGRAMS = 200_000;
const ROUNDS = 5;
/** Coprime to FLOWS, which is a power of ten, so that steps of this size visit every flow. */
const STRIDE = 7919;

const flows = Number(process.argv[2]);
const table = new FlowTable<Flow>({ flowsMax: flows, idleTimeoutMs: 1e9, onRemove: () => {} });
const byClient = new AddressMap<Flow>();
class Flow extends FlowEntry {}

const before = process.memoryUsage.rss();
const clients = Array.from({ length: flows }, (_, i) => clientAddress(i));
for (const client of clients) {
  const host = hostOf(client);
  if (!table.admit(host, 0)) throw new Error("table expected to have room for every flow, is full");
  const flow = new Flow();
  byClient.set(client, flow);
  table.add(flow, host, 0);
}
const residentBytes = process.memoryUsage.rss() - before;

runPass();
const times = Array.from({ length: ROUNDS }, runPass);
if (table.size !== flows) throw new Error(`table expected ${flows} flows, got ${table.size}`);
console.log(JSON.stringify({ ns: median(times), memoryGrowthBytes: residentBytes }));

/** Returns the time per datagram in nanoseconds. */
function runPass(): number {
  const startNs = Bun.nanoseconds();
  for (let i = 0, at = 0; i < DATAGRAMS; i++, at = (at + STRIDE) % flows) {
    const flow = byClient.get(clients[at] as SocketAddress);
    if (flow === undefined) throw new Error(`flow ${at} is not in the table`);
    table.touch(flow, i);
  }
  return (Bun.nanoseconds() - startNs) / DATAGRAMS;
}

/** Returns the address of client `i`: a port of a host in 10.0.0.0/8. */
function clientAddress(i: number): SocketAddress {
  return SocketAddress.ip(
    `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
    1024 + (i % 50_000),
  );
}
