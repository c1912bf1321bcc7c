/** Runs a role until it ends, and prints its counters. */

import { writeFileSync } from "node:fs";
import { type Config, UsageError } from "./cli.ts";
import { MasqueClient } from "./client.ts";
import { type Counters, dropsTotal } from "./counters.ts";
import { loadNodeQuic, type NodeQuic } from "./node-quic.ts";
import { MasqueServer } from "./server.ts";

/** Runs the configured role until it ends or `signal` aborts, and returns the exit code. */
export async function run(config: Config, signal: AbortSignal): Promise<number> {
  if (config.role === "demo") return (await import("./demo/main.ts")).runDemo(signal);
  const { quic, reason } = loadNodeQuic();
  if (quic === undefined) throw new UsageError(reason);
  const end = await (config.role === "server"
    ? startServer(quic, config)
    : startClient(quic, config));
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  const counters = await end();
  process.stdout.write(config.json ? `${JSON.stringify(counters)}\n` : summaryText(counters));
  return 0;
}

type End = () => Promise<Counters>;

async function startServer(
  quic: NodeQuic,
  { options, certificateFile }: Extract<Config, { role: "server" }>,
): Promise<End> {
  const { hostname, port } = options.listen;
  const name = `server on ${addressText(hostname, port)}`;
  if (certificateFile !== undefined) writeFileSync(certificateFile, options.identity.certificate);
  const server = await withUsageErrors(name, MasqueServer.listen(quic, options));
  log(`server on ${addressText(hostname, server.port)}`);
  if (options.tokens?.length === 0) log("no token is required: every client is served");
  return async () => {
    await server.close();
    return server.counters;
  };
}

async function startClient(
  quic: NodeQuic,
  { options }: Extract<Config, { role: "client" }>,
): Promise<End> {
  const { hostname, port } = options.listen;
  const name = `client on ${addressText(hostname, port)}`;
  const opening = MasqueClient.open(quic, { ...options, onProblem: log });
  const client = await withUsageErrors(name, opening);
  const { host, port: targetPort } = options.target;
  log(`client on ${client.localAddr}, target ${addressText(host, targetPort)}`);
  void client.connected.then(() => log("connected to the proxy"));
  return async () => {
    await client.close();
    return client.counters;
  };
}

/** Errors of starting are those of the configuration: a port in use, a wrong certificate. */
async function withUsageErrors<T>(name: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    throw new UsageError(`${name}: ${(error as Error).message}`);
  }
}

function addressText(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Formats the counters, one per line, without drops that did not happen. */
function summaryText(counters: Counters): string {
  const { refusals, toUdp, toTunnel, drops, ...numbers } = counters;
  const rows: [string, number][] = [
    ...Object.entries(numbers),
    ["datagrams to UDP", toUdp.datagrams],
    ["datagrams to the tunnel", toTunnel.datagrams],
    ...Object.entries(refusals).map(([status, n]): [string, number] => [`refused ${status}`, n]),
    ["drops", dropsTotal(counters)],
    ...Object.entries(drops)
      .filter(([, count]) => count > 0)
      .map(([reason, count]): [string, number] => [`  ${reason}`, count]),
  ];
  return rows.map(([name, count]) => `${name.padEnd(24)} ${count}\n`).join("");
}
