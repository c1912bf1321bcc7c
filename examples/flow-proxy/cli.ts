/** Parses and checks the command line. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { parseArgs } from "node:util";
import type { Backend, HostAndPort } from "../../lib/index.ts";
import { PACKET_BYTES_MAX } from "../quiche/packet-io.ts";
import { CONNECTION_ID_BYTES_MAX, CONNECTION_ID_BYTES_MIN } from "./connection-ids.ts";
import { REPLY_FACTOR } from "./reply-allowance.ts";
import { TUNNEL_PACKET_BYTES } from "./tunnel-security.ts";

export const HELP = `Multiplexes the UDP flows of many clients over one socket.

  clients <-> ingress <== tunnel ==> egress <-> upstream

Usage:
  main.ts                                     runs all roles on loopback, as a demo
  main.ts ingress --listen A --tunnel B       receives from clients at A, sends to an egress at B
  main.ts egress --listen B --upstream C      receives from ingresses at B, sends to the upstream C
  main.ts origin --listen C                   runs an echo server as the upstream
  main.ts load --target A                     sends requests to an ingress, checks every reply

Addresses are host:port or [IPv6]:port. With --listen, port 0 selects a free port, which is printed.

  main.ts --secure                            the demo, with the secure tunnel

Options:
  --listen, --tunnel, --upstream, --target    addresses, see above
  --max-flows N      maximum number of flows, 1..30000 (default 4096); ingress, egress, demo
  --idle-timeout S   seconds until an idle flow gets no more replies (default 30); ingress, egress,
                     demo
  --grace S          seconds after that until it is removed (default 30); ingress, egress, demo
  --flow-by-connection-id N
                     with a QUIC server as the upstream whose connection IDs have N bytes, 4..20: a
                     client whose address changes keeps its flow; ingress
  --reply-factor N   until a client has sent again after a reply, the replies are limited to N times
                     what it has sent, 1..1000 (default 3); ingress, egress, demo
  --secure           encrypt and authenticate the tunnel (QUIC); ingress, egress, demo
  --identity FILE    with --secure: the key and certificate of this end in PEM; made if missing
  --peer P           with --secure: the SHA-256 fingerprint of the other end's certificate, or a file
                     with that certificate; egress: also several, one for each ingress
  --packet-bytes N   with --secure: maximum length of the tunnel's UDP payloads, 1200..1600 (default
                     1350); ingress, egress, demo
  --clients N        number of clients, 1..10000 (default 64); load, demo
  --duration S       seconds to run (default: load, demo 5; others until SIGINT or SIGTERM)
  --backend NAME     native or portable (default: native where it works)
  --json             print the summary as JSON
  --help             print this help

Exit codes: 0 success; 1 load, demo: a reply was altered, a reply reached the wrong client, or no
valid reply was received; 2 bad configuration.
`;

/** An error of the user. The message is one line. */
export class UsageError extends Error {}

/** The part of the setup that the process runs, or `demo` for all of them. */
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
  readonly graceMs: number;
  /** Absent: flows are found by the address of the client only. */
  readonly connectionIdBytes: number | undefined;
  readonly replyFactor: number;
  readonly clients: number;
  /** How long to run. Absent: until a signal. */
  readonly durationMs: number | undefined;
  readonly backend: Backend | undefined;
  readonly json: boolean;
  /** Absent: the tunnel is plain. */
  readonly secure: SecureConfig | undefined;
}

/** The settings of the secure tunnel. The demo has its own certificates. */
export interface SecureConfig {
  /** The file with the key and the certificate of this end. */
  readonly identity: string | undefined;
  /** The fingerprints of the other end's certificates, or files with them. */
  readonly peers: readonly string[];
  readonly packetBytesMax: number;
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
  grace: { type: "string" },
  "flow-by-connection-id": { type: "string" },
  "reply-factor": { type: "string" },
  secure: { type: "boolean" },
  identity: { type: "string" },
  peer: { type: "string", multiple: true },
  "packet-bytes": { type: "string" },
  clients: { type: "string" },
  duration: { type: "string" },
  backend: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;
type Option = keyof typeof OPTIONS;

const COMMON: readonly Option[] = ["duration", "backend", "json", "help"];

const FLOW_OPTIONS: readonly Option[] = [
  "max-flows",
  "idle-timeout",
  "grace",
  "reply-factor",
  "secure",
  "packet-bytes",
];
const END_OPTIONS: readonly Option[] = [...FLOW_OPTIONS, "identity", "peer"];

/** The required addresses of each role, and the other options it accepts. */
const ROLES: Record<Role, { required: readonly AddressOption[]; optional: readonly Option[] }> = {
  demo: { required: [], optional: ["clients", ...FLOW_OPTIONS] },
  ingress: { required: ["listen", "tunnel"], optional: [...END_OPTIONS, "flow-by-connection-id"] },
  egress: { required: ["listen", "upstream"], optional: END_OPTIONS },
  origin: { required: ["listen"], optional: [] },
  load: { required: ["target"], optional: ["clients"] },
};

/** The default duration of roles with load. */
const LOAD_SECONDS = 5;
/**
 * Each flow of an egress has a socket with an ephemeral port, of which Linux has 28,232 by default
 * (`ip_local_port_range` in ip(7)).
 */
const FLOWS_MAX = 30_000;
const CLIENTS_MAX = 10_000;
const REPLY_FACTOR_MAX = 1000;
/** The delay of a timer is limited to 2^31-1 ms. */
const SECONDS_MAX = 2_000_000;

/** The value of the addresses that a role does not use. */
const NO_ADDRESS: HostAndPort = { hostname: "127.0.0.1", port: 0 };

/**
 * Returns the configuration, or `"help"` if help is requested.
 *
 * @throws UsageError if the command line is wrong.
 */
export async function readCommandLine(args: readonly string[]): Promise<Config | "help"> {
  const { values, positionals } = parseOptions(args);
  if (values.help) return "help";
  const role = roleOf(positionals, values);
  checkOptions(role, values);
  const addresses: Record<AddressOption, HostAndPort> = {
    listen: NO_ADDRESS,
    tunnel: NO_ADDRESS,
    upstream: NO_ADDRESS,
    target: NO_ADDRESS,
  };
  for (const name of ADDRESSES) {
    const text = values[name];
    if (text !== undefined) addresses[name] = await parseAddress(name, text);
  }
  const hasLoad = role === "demo" || role === "load";
  const backend = parseBackend(values.backend ?? process.env.DATAGRAM_SOCKET_BACKEND);
  return {
    role,
    ...addresses,
    durationMs: parseSeconds(values, "duration", hasLoad ? LOAD_SECONDS : undefined),
    flowsMax: parseInteger(values, "max-flows", { fallback: 4096, max: FLOWS_MAX }),
    idleTimeoutMs: parseSeconds(values, "idle-timeout", 30) as number,
    graceMs: parseSeconds(values, "grace", 30) as number,
    connectionIdBytes:
      values["flow-by-connection-id"] === undefined
        ? undefined
        : parseInteger(values, "flow-by-connection-id", {
            fallback: 0,
            min: CONNECTION_ID_BYTES_MIN,
            max: CONNECTION_ID_BYTES_MAX,
          }),
    replyFactor: parseInteger(values, "reply-factor", {
      fallback: REPLY_FACTOR,
      max: REPLY_FACTOR_MAX,
    }),
    clients: parseInteger(values, "clients", { fallback: 64, max: CLIENTS_MAX }),
    backend,
    json: values.json ?? false,
    secure: secureConfig(role, values, backend),
  };
}

function parseOptions(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // The first sentence is the error. The others are hints about the syntax of parseArgs.
    const [firstSentence] = String((error as Error).message).split(/\.\s|\n/);
    throw new UsageError(`${firstSentence}; see --help`);
  }
}

type Values = ReturnType<typeof parseOptions>["values"];

/** Returns the role named by the first argument, or else implied by the addresses. */
function roleOf(positionals: readonly string[], values: Values): Role {
  const [word, extra] = positionals;
  if (extra !== undefined) throw new UsageError(`unexpected argument "${extra}"`);
  if (word !== undefined) {
    if (word !== "demo" && Object.hasOwn(ROLES, word)) return word as Role;
    throw new UsageError(`"${word}" expected ingress, egress, origin or load`);
  }
  const given = ADDRESSES.filter((name) => values[name] !== undefined).join();
  for (const role of ["demo", "ingress", "egress"] as const) {
    if (ROLES[role].required.join() === given) return role;
  }
  throw new UsageError("cannot infer the role from the addresses: start with ingress or egress");
}

function checkOptions(role: Role, values: Values): void {
  const { required, optional } = ROLES[role];
  for (const name of Object.keys(values) as Option[]) {
    const isAccepted = [...required, ...optional, ...COMMON].includes(name);
    if (!isAccepted) throw new UsageError(`--${name} is not an option of ${role}`);
  }
  for (const name of required) {
    if (values[name] === undefined) throw new UsageError(`${role} requires --${name} host:port`);
  }
}

/** Both ends must know each other: an egress that serves anyone would be an open proxy. */
function secureConfig(
  role: Role,
  values: Values,
  backend: Backend | undefined,
): SecureConfig | undefined {
  const { secure = false, identity, peer: peers = [], "packet-bytes": packetBytes } = values;
  if (!secure) {
    if (identity !== undefined) throw new UsageError("--identity requires --secure");
    if (peers.length > 0) throw new UsageError("--peer requires --secure");
    if (packetBytes !== undefined) throw new UsageError("--packet-bytes requires --secure");
    return undefined;
  }
  if (backend === "portable") throw new UsageError("--secure requires the native backend");
  const packetBytesMax = parseInteger(values, "packet-bytes", {
    fallback: PACKET_BYTES_MAX,
    ...TUNNEL_PACKET_BYTES,
  });
  if (role === "demo") return { identity, peers, packetBytesMax };
  if (identity === undefined) throw new UsageError("--secure requires --identity FILE");
  if (peers.length === 0) throw new UsageError("--secure requires --peer FINGERPRINT or FILE");
  if (role === "ingress" && peers.length > 1) {
    throw new UsageError("an ingress has one --peer, its egress");
  }
  return { identity, peers, packetBytesMax };
}

async function parseAddress(name: AddressOption, text: string): Promise<HostAndPort> {
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
  return { hostname: await resolveHost(name, host), port };
}

async function resolveHost(name: AddressOption, host: string): Promise<string> {
  if (isIP(host.split("%", 1)[0] as string) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (error) {
    const { code = "unknown reason" } = error as { code?: string };
    throw new UsageError(`--${name} cannot resolve host "${host}" (${code})`);
  }
}

function parseInteger(
  values: Values,
  name: "max-flows" | "clients" | "reply-factor" | "flow-by-connection-id" | "packet-bytes",
  { fallback, min = 1, max }: { fallback: number; min?: number; max: number },
): number {
  const text = values[name];
  if (text === undefined) return fallback;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`--${name} expected integer ${min}..${max}, got "${text}"`);
}

/** Returns the value in milliseconds. */
function parseSeconds(
  values: Values,
  name: "idle-timeout" | "duration" | "grace",
  fallback: number | undefined,
): number | undefined {
  const text = values[name];
  if (text === undefined) return fallback === undefined ? undefined : fallback * 1000;
  const value = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
  const isInRange = value <= SECONDS_MAX && (value > 0 || (value === 0 && name === "grace"));
  if (isInRange) return value * 1000;
  throw new UsageError(`--${name} expected seconds above 0, at most ${SECONDS_MAX}, got "${text}"`);
}

function parseBackend(text: string | undefined): Backend | undefined {
  // The library reads the same environment variable, and also ignores it if it is empty.
  if (text === undefined || text === "") return undefined;
  if (text === "native" || text === "portable") return text;
  throw new UsageError(
    `--backend or DATAGRAM_SOCKET_BACKEND expected native or portable, got "${text}"`,
  );
}
