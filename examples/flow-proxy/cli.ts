/** The command line: what may be said, and what each mistake is answered with. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { parseArgs } from "node:util";
import type { Backend, HostAndPort } from "../../lib/index.ts";

export const HELP = `Multiplexes the UDP flows of many clients over one socket.

  clients <-> ingress <== tunnel ==> egress <-> upstream

Usage:
  main.ts                                     all of it on loopback, every answer checked
  main.ts ingress --listen A --tunnel B       the clients' half; B is where the egress listens
  main.ts egress --listen B --upstream C      the upstream's half
  main.ts origin --listen C                   an upstream that sends everything back
  main.ts load --target A                     asks an ingress, and checks every answer

Addresses are host:port or [IPv6]:port. Listening on port 0 takes a free one and prints it.

Options:
  --listen, --tunnel, --upstream, --target    as above
  --max-flows N      flows at the same time, 1..30000 (default 4096); ingress, egress
  --idle-timeout S   seconds until an idle flow is forgotten (default 30); ingress, egress
  --clients N        clients of the load generator, 1..10000 (default 64)
  --duration S       seconds to run (default: 5 with load, else until SIGINT or SIGTERM)
  --backend NAME     native or portable (default: native where it works)
  --json             prints the summary as JSON
  --help             prints this

Exit codes: 0 all well; 1 an answer was altered, went to the wrong client, or none came at all;
2 bad configuration.
`;

/** A mistake of the user's, said in one line. */
export class UsageError extends Error {}

/** What the process is to be. */
export type Role = "demo" | "ingress" | "egress" | "origin" | "load";

/** A checked command line, with host names resolved. */
export interface Config {
  readonly role: Role;
  readonly listen: HostAndPort;
  readonly tunnel: HostAndPort;
  readonly upstream: HostAndPort;
  readonly target: HostAndPort;
  readonly flowsMax: number;
  readonly idleTimeoutMs: number;
  readonly clients: number;
  /** Absent: until a signal. */
  readonly durationMs: number | undefined;
  readonly backend: Backend | undefined;
  readonly json: boolean;
}

const ADDRESSES = ["listen", "tunnel", "upstream", "target"] as const;
type AddressOption = (typeof ADDRESSES)[number];

const OPTIONS = {
  listen: { type: "string" },
  tunnel: { type: "string" },
  upstream: { type: "string" },
  target: { type: "string" },
  "max-flows": { type: "string" },
  "idle-timeout": { type: "string" },
  clients: { type: "string" },
  duration: { type: "string" },
  backend: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;
type Option = keyof typeof OPTIONS;

const COMMON: readonly Option[] = ["duration", "backend", "json", "help"];

/** What each role needs, and what else it takes. */
const ROLES: Record<Role, { needs: readonly AddressOption[]; takes: readonly Option[] }> = {
  demo: { needs: [], takes: ["clients", "max-flows", "idle-timeout"] },
  ingress: { needs: ["listen", "tunnel"], takes: ["max-flows", "idle-timeout"] },
  egress: { needs: ["listen", "upstream"], takes: ["max-flows", "idle-timeout"] },
  origin: { needs: ["listen"], takes: [] },
  load: { needs: ["target"], takes: ["clients"] },
};

/** Seconds of load when nothing is said. */
const LOAD_SECONDS = 5;
/** A thread has room for 32768 sockets of the library. */
const FLOWS_MAX = 30_000;
const CLIENTS_MAX = 10_000;
/** Timers take no more milliseconds than 2^31-1. */
const SECONDS_MAX = 2_000_000;

const NOWHERE: HostAndPort = { hostname: "127.0.0.1", port: 0 };

/**
 * Reads the command line: the configuration, or `"help"`.
 *
 * @throws UsageError with one line that says what is wrong.
 */
export async function readCommandLine(args: readonly string[]): Promise<Config | "help"> {
  const { values, positionals } = parse(args);
  if (values.help) return "help";
  const role = roleOf(positionals, values);
  checkOptions(role, values);
  const addresses: Record<AddressOption, HostAndPort> = {
    listen: NOWHERE,
    tunnel: NOWHERE,
    upstream: NOWHERE,
    target: NOWHERE,
  };
  for (const name of ADDRESSES) {
    const text = values[name];
    if (text !== undefined) addresses[name] = await address(name, text);
  }
  const hasLoad = role === "demo" || role === "load";
  const durationMs = seconds(values, "duration", hasLoad ? LOAD_SECONDS : undefined);
  return {
    role,
    ...addresses,
    flowsMax: integer(values, "max-flows", { fallback: 4096, max: FLOWS_MAX }),
    idleTimeoutMs: seconds(values, "idle-timeout", 30) as number,
    clients: integer(values, "clients", { fallback: 64, max: CLIENTS_MAX }),
    durationMs,
    backend: backend(values.backend ?? process.env.DATAGRAM_SOCKET_BACKEND),
    json: values.json ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // The first sentence says what is wrong, the rest how parseArgs would have it.
    const [what] = String((error as Error).message).split(/\.\s|\n/);
    throw new UsageError(`${what}; --help says what there is`);
  }
}

type Values = ReturnType<typeof parse>["values"];

/** The first word; without one, what the addresses given are for. */
function roleOf(positionals: readonly string[], values: Values): Role {
  const [word, extra] = positionals;
  if (extra !== undefined) throw new UsageError(`unexpected argument "${extra}"`);
  if (word !== undefined) {
    if (word !== "demo" && word in ROLES) return word as Role;
    throw new UsageError(`"${word}" expected ingress, egress, origin or load`);
  }
  const given = ADDRESSES.filter((name) => values[name] !== undefined).join();
  for (const role of ["demo", "ingress", "egress"] as const) {
    if (ROLES[role].needs.join() === given) return role;
  }
  throw new UsageError("which half is it? Say ingress or egress first");
}

function checkOptions(role: Role, values: Values): void {
  const { needs, takes } = ROLES[role];
  for (const name of Object.keys(values) as Option[]) {
    const isKnown = [...needs, ...takes, ...COMMON].includes(name);
    if (!isKnown) throw new UsageError(`--${name} does not go with ${role}`);
  }
  for (const name of needs) {
    if (values[name] === undefined) throw new UsageError(`${role} needs --${name} host:port`);
  }
}

async function address(name: AddressOption, text: string): Promise<HostAndPort> {
  const match = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d+)$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    throw new UsageError(`--${name} expected host:port or [IPv6]:port, got "${text}"`);
  }
  const port = Number(match?.[3]);
  const portMin = name === "listen" ? 0 : 1;
  if (port < portMin || port > 65_535) {
    throw new UsageError(`--${name} expected port ${portMin}..65535, got ${match?.[3]}`);
  }
  return { hostname: await resolve(name, host), port };
}

async function resolve(name: AddressOption, host: string): Promise<string> {
  if (isIP(host.split("%", 1)[0] as string) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (error) {
    const { code = "unknown reason" } = error as { code?: string };
    throw new UsageError(`--${name} cannot resolve host "${host}" (${code})`);
  }
}

function integer(
  values: Values,
  name: "max-flows" | "clients",
  { fallback, max }: { fallback: number; max: number },
): number {
  const text = values[name];
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= max) return value;
  throw new UsageError(`--${name} expected integer 1..${max}, got "${text}"`);
}

/** In milliseconds. */
function seconds(
  values: Values,
  name: "idle-timeout" | "duration",
  fallback: number | undefined,
): number | undefined {
  const text = values[name];
  if (text === undefined) return fallback === undefined ? undefined : fallback * 1000;
  const value = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && value <= SECONDS_MAX) return value * 1000;
  throw new UsageError(`--${name} expected seconds above 0, at most ${SECONDS_MAX}, got "${text}"`);
}

function backend(text: string | undefined): Backend | undefined {
  // The variable is the library's own, which takes the empty one for absent too.
  if (text === undefined || text === "") return undefined;
  if (text === "native" || text === "portable") return text;
  throw new UsageError(
    `--backend or DATAGRAM_SOCKET_BACKEND expected native or portable, got "${text}"`,
  );
}
