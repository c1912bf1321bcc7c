/** The program of the clients: opens flows, and asks which host they have. */

import { loadQuiche } from "../../quiche/install.ts";
import type { Quiche } from "../../quiche/quiche.ts";
import { serveFunctions } from "./child.ts";
import { type Family, type Flow, openQuic, QuicFlow, Tunnel } from "./flows.ts";

/** The flows to open. */
export interface OpenOptions {
  readonly family: Family;
  readonly quic: number;
  readonly tunnel: number;
  /** The QUIC connections of a socket. Default 10. */
  readonly perSocket?: number;
}

/** The flows to ask. */
export interface ProbeOptions {
  readonly timeoutMs: number;
  readonly indices?: readonly number[];
}

/** Connections that are opened at the same time. */
const HANDSHAKES_MAX = 16;

/** The functions of the clients. Flows are numbered in the order in which they were opened. */
export type ClientFunctions = {
  /** Opens the ingresses of the tunnels, whose flows are assigned to these hosts. */
  start(serverIds: readonly number[]): Promise<void>;
  /** Opens more flows. */
  open(options: OpenOptions): Promise<void>;
  /** Returns the hosts of flows, of all by default; null for those without a reply in time. */
  probe(options: ProbeOptions): Promise<(number | null)[]>;
  /** Moves every third QUIC connection to another address. Returns how many. */
  move(argument: null): Promise<number>;
  /** Opens new connections in place of the QUIC connections among these flows. Returns how many. */
  reconnect(indices: readonly number[]): Promise<number>;
  setServerIds(serverIds: readonly number[]): void;
};

interface Entry {
  flow: Flow;
  readonly family: Family;
}

const { quiche } = loadQuiche();
const tunnels = new Map<Family, Tunnel>();
const flows: Entry[] = [];

async function start(serverIds: readonly number[]): Promise<void> {
  for (const family of [4, 6] as const) tunnels.set(family, await Tunnel.open(family, serverIds));
}

async function open({ family, quic, tunnel, perSocket = 10 }: OpenOptions): Promise<void> {
  const opened: Flow[] = [...(await (tunnels.get(family) as Tunnel).openFlows(tunnel))];
  if (quiche !== undefined)
    opened.push(...(await openQuic(quiche, { family, count: quic, perSocket })));
  flows.push(...opened.map((flow) => ({ flow, family })));
}

async function probe({ timeoutMs, indices }: ProbeOptions): Promise<(number | null)[]> {
  const entries = indices?.map((index) => flows[index] as Entry) ?? flows;
  return Promise.all(entries.map(async ({ flow }) => (await flow.probe(timeoutMs)) ?? null));
}

async function move(): Promise<number> {
  const moving = flows
    .map(({ flow }) => flow)
    .filter((flow) => flow instanceof QuicFlow)
    .filter((_, i) => i % 3 === 0);
  await Promise.all(moving.map(({ connection, otherAddress }) => connection.migrate(otherAddress)));
  return moving.length;
}

async function reconnect(indices: readonly number[]): Promise<number> {
  const entries = indices.map((index) => flows[index] as Entry);
  const ended = entries.filter(({ flow }) => flow instanceof QuicFlow);
  for (let i = 0; i < ended.length; i += HANDSHAKES_MAX) {
    await Promise.all(ended.slice(i, i + HANDSHAKES_MAX).map(replaceConnection));
  }
  return ended.length;
}

async function replaceConnection(entry: Entry): Promise<void> {
  const options = { family: entry.family, count: 1, perSocket: 1 };
  const [flow] = await openQuic(quiche as Quiche, options);
  (entry.flow as QuicFlow).connection.close();
  entry.flow = flow as QuicFlow;
}

function setServerIds(serverIds: readonly number[]): void {
  for (const tunnel of tunnels.values()) tunnel.setServerIds(serverIds);
}

if (import.meta.main) {
  const functions = { start, open, probe, move, reconnect, setServerIds };
  serveFunctions(functions satisfies ClientFunctions);
}
