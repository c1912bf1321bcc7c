/** Both halves of the flow proxy in a process of their own, which reports its memory. */

import { heapStats } from "bun:jsc";
import { readdirSync } from "node:fs";
import {
  datagramsTransferred,
  dropsTotal,
  type EndpointSnapshot,
} from "../../examples/flow-proxy/counters.ts";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import type { FromProxy, ProxySample, ToProxy } from "./messages.ts";

const LOOPBACK = "127.0.0.1";
/** Flows of clients that have ended are removed soon, so that the table is not full of them. */
const LIMITS = { flowsMax: 4096, idleTimeoutMs: 2000 };
const MIB = 2 ** 20;

let ingress: Ingress | undefined;
let egress: Egress | undefined;
/** Those of the open halves; the last ones after they were closed. */
let snapshots: EndpointSnapshot[] = [];

function send(message: FromProxy): void {
  process.send?.(message);
}

function countDescriptors(): number {
  // Without the descriptor that reads the folder.
  return readdirSync("/proc/self/fd").length - 1;
}

function takeSample(): ProxySample {
  if (ingress && egress) snapshots = [ingress.snapshot(), egress.snapshot()];
  const sum = (of: (snapshot: EndpointSnapshot) => number) =>
    snapshots.reduce((total, snapshot) => total + of(snapshot), 0);
  return {
    rssMiB: process.memoryUsage.rss() / MIB,
    heapMiB: heapStats().heapSize / MIB,
    descriptors: countDescriptors(),
    flows: sum(({ flows }) => flows),
    flowsOpened: sum(({ flowCounters }) => flowCounters.opened),
    datagrams: sum(datagramsTransferred),
    drops: sum(dropsTotal),
  };
}

async function start(upstreamPort: number): Promise<void> {
  const upstream = { hostname: LOOPBACK, port: upstreamPort };
  const listen = { hostname: LOOPBACK, port: 0 };
  egress = await Egress.open({ listen, upstream, ...LIMITS });
  const tunnel = { hostname: LOOPBACK, port: egress.localAddr.port };
  ingress = await Ingress.open({ listen, tunnel, ...LIMITS });
  send({ kind: "listening", port: ingress.localAddr.port, descriptors: countDescriptors() });
}

async function close(): Promise<void> {
  takeSample();
  ingress?.close();
  egress?.close();
  ingress = egress = undefined;
  Bun.gc(true);
  await Bun.sleep(100);
  send({ kind: "closed", sample: takeSample() });
  process.disconnect?.();
}

process.on("message", (message: ToProxy) => {
  if (message.kind === "start") void start(message.upstreamPort);
  else if (message.kind === "sample") send({ kind: "sample", sample: takeSample() });
  else void close();
});
