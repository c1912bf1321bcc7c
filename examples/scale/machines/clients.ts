/** The program of the clients: opens flows, and asks which host they have. */

import { loadQuiche } from "../../quiche/install.ts";
import { serveFunctions } from "./child.ts";
import { type Family, type Flow, openQuic, QuicFlow, Tunnel } from "./flows.ts";

/** The flows to open. */
export interface OpenOptions {
  readonly family: Family;
  readonly quic: number;
  readonly tunnel: number;
}

/** The functions of the clients. Flows are numbered in the order in which they were opened. */
export type ClientFunctions = {
  /** Opens the ingresses of the tunnels, whose flows are assigned to these hosts. */
  start(serverIds: readonly number[]): Promise<void>;
  /** Opens more flows. */
  open(options: OpenOptions): Promise<void>;
  /** Returns the host of each flow; null if none replies in time. */
  probe(options: { readonly timeoutMs: number }): Promise<(number | null)[]>;
  /** Moves every third QUIC connection to another address. Returns how many. */
  move(argument: null): Promise<number>;
  /** Opens new connections in place of these QUIC connections. */
  reconnect(indices: readonly number[]): Promise<void>;
  setServerIds(serverIds: readonly number[]): void;
};

const { quiche } = loadQuiche();
const tunnels = new Map<Family, Tunnel>();
const flows: { flow: Flow; readonly family: Family }[] = [];

async function start(serverIds: readonly number[]): Promise<void> {
  for (const family of [4, 6] as const) tunnels.set(family, await Tunnel.open(family, serverIds));
}

async function open({ family, quic, tunnel }: OpenOptions): Promise<void> {
  const opened: Flow[] = [...(await (tunnels.get(family) as Tunnel).openFlows(tunnel))];
  if (quiche !== undefined) opened.push(...(await openQuic(quiche, family, quic)));
  flows.push(...opened.map((flow) => ({ flow, family })));
}

async function probe({ timeoutMs }: { timeoutMs: number }): Promise<(number | null)[]> {
  return Promise.all(flows.map(async ({ flow }) => (await flow.probe(timeoutMs)) ?? null));
}

async function move(): Promise<number> {
  const moving = flows
    .map(({ flow }) => flow)
    .filter((flow) => flow instanceof QuicFlow)
    .filter((_, i) => i % 3 === 0);
  await Promise.all(moving.map(({ connection, otherAddress }) => connection.migrate(otherAddress)));
  return moving.length;
}

async function reconnect(indices: readonly number[]): Promise<void> {
  if (quiche === undefined) return;
  for (const index of indices) {
    const entry = flows[index];
    if (!(entry?.flow instanceof QuicFlow)) continue;
    entry.flow.connection.close();
    [entry.flow] = (await openQuic(quiche, entry.family, 1)) as [QuicFlow];
  }
}

function setServerIds(serverIds: readonly number[]): void {
  for (const tunnel of tunnels.values()) tunnel.setServerIds(serverIds);
}

if (import.meta.main) {
  const functions = { start, open, probe, move, reconnect, setServerIds };
  serveFunctions(functions satisfies ClientFunctions);
}
