/** Runs a role: opens its sockets, waits until it ends, and prints the summary. */

import { type HostAndPort, type SocketAddress, SocketError } from "../../lib/index.ts";
import { type Config, UsageError } from "./cli.ts";
import type { EndpointSnapshot } from "./counters.ts";
import { Egress } from "./egress.ts";
import { Ingress } from "./ingress.ts";
import { hasPassed, type LoadReport, runLoad } from "./load-generator.ts";
import { type DemoSecurity, loadStack, makeDemoSecurity, openSecurity } from "./open-security.ts";
import { Origin } from "./origin.ts";
import { ProgressLine } from "./progress-line.ts";
import { type Summary, summaryJson, summaryText } from "./summary.ts";
import { TunnelError, type TunnelSecurity } from "./tunnel-security.ts";

interface Closable {
  close(): void;
}

/** An ingress or an egress. */
interface Endpoint extends Closable {
  readonly backend: string;
  snapshot(): EndpointSnapshot;
}

/** Runs the configured role until it ends or `signal` aborts, and returns the exit code. */
export async function run(config: Config, signal: AbortSignal): Promise<number> {
  switch (config.role) {
    case "demo":
      return runDemo(config, signal);
    case "load": {
      const load = await startLoad(config.target, config, signal);
      printSummary(config, { backend: load.backend, seconds: load.seconds, endpoints: [], load });
      return hasPassed(load) ? 0 : 1;
    }
    case "ingress":
      return runEndpoint(config, signal, await openIngress(config, await securityOf(config)));
    case "egress":
      return runEndpoint(config, signal, await openEgress(config, await securityOf(config)));
    case "origin": {
      const origin = await openOrigin(config);
      await untilEnd(config.durationMs, signal);
      const { replies } = origin;
      origin.close();
      process.stdout.write(config.json ? `{"replies":${replies}}\n` : `replies ${replies}\n`);
      return 0;
    }
  }
}

/** Runs the origin, both endpoints and the load generator on loopback. */
async function runDemo(config: Config, signal: AbortSignal): Promise<number> {
  let security: DemoSecurity | undefined;
  if (config.secure !== undefined) {
    const stack = loadStack();
    if ("reason" in stack) {
      log(`secure tunnel: skipped, ${stack.reason}`);
      return 0;
    }
    security = makeDemoSecurity(stack.quiche, config.secure, log);
  }
  const listen: HostAndPort = { hostname: "127.0.0.1", port: 0 };
  const opened: Closable[] = [];
  try {
    const origin = await openOrigin({ ...config, listen });
    opened.push(origin);
    const upstream = hostAndPort(origin.localAddr);
    const egress = await openEgress({ ...config, listen, upstream }, security?.egress);
    opened.push(egress);
    const tunnel = hostAndPort(egress.localAddr);
    const ingress = await openIngress({ ...config, listen, tunnel }, security?.ingress);
    opened.push(ingress);
    const sample = () => [ingress.snapshot(), egress.snapshot()];
    const progress = new ProgressLine({ sample, printsWithoutTerminal: !config.json });
    let load: LoadReport;
    try {
      load = await startLoad(hostAndPort(ingress.localAddr), config, signal);
    } finally {
      progress.stop();
    }
    const { backend } = ingress;
    printSummary(config, { backend, seconds: load.seconds, endpoints: sample(), load });
    return hasPassed(load) ? 0 : 1;
  } finally {
    for (const closable of opened) closable.close();
  }
}

async function runEndpoint(
  config: Config,
  signal: AbortSignal,
  endpoint: Endpoint,
): Promise<number> {
  const startMs = performance.now();
  const sample = () => [endpoint.snapshot()];
  const progress = new ProgressLine({ sample, printsWithoutTerminal: false });
  await untilEnd(config.durationMs, signal);
  progress.stop();
  const seconds = (performance.now() - startMs) / 1000;
  printSummary(config, { backend: endpoint.backend, seconds, endpoints: sample() });
  endpoint.close();
  return 0;
}

/** Waits for the duration, or until `signal` aborts. */
function untilEnd(durationMs: number | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = durationMs === undefined ? undefined : setTimeout(end, durationMs);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    }
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

// ------------------------------------------------------------------------ opening sockets ----

async function openOrigin(config: Config): Promise<Origin> {
  const name = `origin on ${addressText(config.listen)}`;
  const origin = await withUsageErrors(name, Origin.open(config));
  log(`origin on ${origin.localAddr}`);
  return origin;
}

/** Returns how the end of the tunnel is secured; absent if it is plain. */
async function securityOf({ secure }: Config): Promise<TunnelSecurity | undefined> {
  return secure && openSecurity(secure, log);
}

async function openIngress(config: Config, security: TunnelSecurity | undefined): Promise<Ingress> {
  const tunnel = `tunnel to ${addressText(config.tunnel)}`;
  const name = `ingress on ${addressText(config.listen)}, ${tunnel}`;
  const ingress = await withUsageErrors(name, Ingress.open({ ...config, security }));
  log(`ingress on ${ingress.localAddr}, ${tunnel}`);
  return ingress;
}

async function openEgress(config: Config, security: TunnelSecurity | undefined): Promise<Egress> {
  const upstream = `upstream ${addressText(config.upstream)}`;
  const name = `egress on ${addressText(config.listen)}, ${upstream}`;
  const egress = await withUsageErrors(name, Egress.open({ ...config, security }));
  log(`egress on ${egress.localAddr}, ${upstream}`);
  return egress;
}

function startLoad(target: HostAndPort, config: Config, signal: AbortSignal): Promise<LoadReport> {
  // The command line has a default duration for roles with load.
  const durationMs = config.durationMs as number;
  const report = runLoad({ ...config, target, durationMs, signal });
  return withUsageErrors(`load on ${addressText(target)}`, report);
}

/**
 * Converts the `SocketError` of a socket that cannot be opened to a `UsageError`: its cause is the
 * configuration, for example a port in use, an address of another host, or no route to the tunnel.
 */
async function withUsageErrors<T>(name: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof TunnelError) throw new UsageError(`${name}: ${error.message}`);
    if (!(error instanceof SocketError)) throw error;
    throw new UsageError(`${name}: ${error.syscall} ${error.code}`);
  }
}

function hostAndPort({ address, port }: SocketAddress): HostAndPort {
  return { hostname: address, port };
}

function addressText({ hostname, port }: HostAndPort): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

// --------------------------------------------------------------------------------- output ----

/** Writes a line to stderr. Only the summary goes to stdout. */
function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

function printSummary({ json }: Config, summary: Summary): void {
  process.stdout.write(json ? `${summaryJson(summary)}\n` : summaryText(summary));
}
