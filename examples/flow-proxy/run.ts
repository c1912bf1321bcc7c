/** Runs each role from opening its sockets to the summary. */

import { type HostAndPort, type SocketAddress, SocketError } from "../../lib/index.ts";
import { type Config, UsageError } from "./cli.ts";
import type { HalfSnapshot } from "./counts.ts";
import { Egress } from "./egress.ts";
import { Ingress } from "./ingress.ts";
import { LiveLine } from "./live-line.ts";
import { isIntact, type LoadReport, runLoad } from "./load.ts";
import { Origin } from "./origin.ts";
import { type Summary, summaryJson, summaryText } from "./summary.ts";

/** What the halves and the origin have in common. */
interface Running {
  readonly backend: string;
  close(): void;
}

interface Half extends Running {
  snapshot(): HalfSnapshot;
}

/** Runs what the configuration says until it is done or `signal` aborts: the exit code. */
export async function run(config: Config, signal: AbortSignal): Promise<number> {
  switch (config.role) {
    case "demo":
      return runDemo(config, signal);
    case "load": {
      const load = await loadOn(config.target, config, signal);
      printSummary(config, { backend: load.backend, seconds: load.seconds, halves: [], load });
      return isIntact(load) ? 0 : 1;
    }
    case "ingress":
      return runHalf(config, signal, await openIngress(config));
    case "egress":
      return runHalf(config, signal, await openEgress(config));
    case "origin": {
      const origin = await openOrigin(config);
      await untilDone(config.durationMs, signal);
      const { answered } = origin;
      origin.close();
      process.stdout.write(config.json ? `{"answered":${answered}}\n` : `answered ${answered}\n`);
      return 0;
    }
  }
}

/**
 * Waits for sockets to open. What the system refuses then comes from the configuration: a port in
 * use, an address of another host, no route to the tunnel's end.
 */
async function opening<T>(what: string, opened: Promise<T>): Promise<T> {
  try {
    return await opened;
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
    throw new UsageError(`${what}: ${error.syscall} ${error.code}`);
  }
}

async function openOrigin(config: Config): Promise<Origin> {
  const origin = await opening(`origin on ${addressText(config.listen)}`, Origin.open(config));
  say(`origin on ${origin.localAddr}`);
  return origin;
}

function loadOn(target: HostAndPort, config: Config, signal: AbortSignal): Promise<LoadReport> {
  // The command line gives load a duration, always.
  const durationMs = config.durationMs as number;
  const report = runLoad({ ...config, target, durationMs, signal });
  return opening(`load on ${addressText(target)}`, report);
}

async function openIngress(config: Config): Promise<Ingress> {
  const tunnel = `tunnel to ${addressText(config.tunnel)}`;
  const listen = addressText(config.listen);
  const ingress = await opening(`ingress on ${listen}, ${tunnel}`, Ingress.open(config));
  say(`ingress on ${ingress.localAddr}, ${tunnel}`);
  return ingress;
}

async function openEgress(config: Config): Promise<Egress> {
  const upstream = `upstream ${addressText(config.upstream)}`;
  const listen = addressText(config.listen);
  const egress = await opening(`egress on ${listen}, ${upstream}`, Egress.open(config));
  say(`egress on ${egress.localAddr}, ${upstream}`);
  return egress;
}

/** Both halves between load and origin, all on loopback. */
async function runDemo(config: Config, signal: AbortSignal): Promise<number> {
  const loopback: HostAndPort = { hostname: "127.0.0.1", port: 0 };
  const opened: Running[] = [];
  try {
    const origin = await openOrigin({ ...config, listen: loopback });
    opened.push(origin);
    const upstream = hostAndPort(origin.localAddr);
    const egress = await openEgress({ ...config, listen: loopback, upstream });
    opened.push(egress);
    const tunnel = hostAndPort(egress.localAddr);
    const ingress = await openIngress({ ...config, listen: loopback, tunnel });
    opened.push(ingress);
    const halves = [ingress, egress];
    const live = new LiveLine({ sample: () => snapshots(halves), always: !config.json });
    let load: LoadReport;
    try {
      const target = hostAndPort(ingress.localAddr);
      load = await loadOn(target, config, signal);
    } finally {
      live.stop();
    }
    const { backend } = ingress;
    printSummary(config, { backend, seconds: load.seconds, halves: snapshots(halves), load });
    return isIntact(load) ? 0 : 1;
  } finally {
    for (const running of opened) running.close();
  }
}

async function runHalf(config: Config, signal: AbortSignal, half: Half): Promise<number> {
  const startMs = performance.now();
  const live = new LiveLine({ sample: () => snapshots([half]), always: false });
  await untilDone(config.durationMs, signal);
  live.stop();
  const seconds = (performance.now() - startMs) / 1000;
  printSummary(config, { backend: half.backend, seconds, halves: snapshots([half]) });
  half.close();
  return 0;
}

function snapshots(halves: readonly Half[]): HalfSnapshot[] {
  return halves.map((half) => half.snapshot());
}

function untilDone(durationMs: number | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = durationMs === undefined ? undefined : setTimeout(done, durationMs);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

function hostAndPort({ address, port }: SocketAddress): HostAndPort {
  return { hostname: address, port };
}

function addressText({ hostname, port }: HostAndPort): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** What is going on is told on stderr, so that stdout has the summary alone. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function printSummary({ json }: Config, summary: Summary): void {
  process.stdout.write(json ? `${summaryJson(summary)}\n` : summaryText(summary));
}
