/** Parses and checks the command line. */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { HostAndPort } from "../../lib/index.ts";
import {
  ConnectUdpTemplate,
  DEFAULT_TEMPLATE_PATH,
  type UdpTarget,
} from "../../lib/masque/index.ts";
import { type Identity, makeIdentity } from "../quiche/tls.ts";
import { AllowList } from "./allow-list.ts";
import type { ClientOptions } from "./client.ts";
import type { ServerOptions } from "./server.ts";

export const HELP = `Proxies UDP in HTTP/3: connect-udp (RFC 9298), with Bun's experimental node:quic.

  local peers <-> client <== HTTP/3 ==> server <-> target

Usage:
  main.ts                                               runs the demo: both on loopback, with checks
  main.ts server --listen A --allow RULE                proxies to the targets that a rule allows
  main.ts client --listen A --proxy URL --target B      opens a tunnel for each peer of port A

Addresses are host:port or [IPv6]:port. With --listen, port 0 selects a free port, which is printed.

Server:
  --listen A           the UDP address of the proxy
  --allow RULE         a permitted target: HOST or HOST:PORT, where HOST is an address, a range such as
                       192.0.2.0/24, a name, *.domain, or * for all public addresses; can be repeated.
                       Addresses that are not public need a rule with their address or range
  --cert F, --key F    the certificate chain and the key in PEM (default: makes a certificate for
                       localhost)
  --print-cert F       writes the certificate to a file, for --ca of a client
  --token-file F       a request needs one of the bearer tokens in this file, one per line
                       (also: the environment variable MASQUE_TOKEN)
  --max-tunnels N      tunnels at a time (default 1000)
  --max-tunnels-per-connection N                        (default 256)
  --retry              clients prove their address before the handshake

Client:
  --listen A           the local UDP address
  --proxy URL          https://host:port, or a URI template with {target_host} and {target_port}
  --target B           the target, which the proxy resolves
  --ca F               trusted certificates in PEM (default: those of the system)
  --insecure           does not verify the certificate of the proxy
  --token-file F       the bearer token (also: the environment variable MASQUE_TOKEN)
  --capsules           sends on the request streams, without loss and in order. Needed for payloads
                       of more than 1148 bytes, such as those of QUIC, which node:quic cannot send
                       as DATAGRAM frames
  --max-peers N        local peers at a time (default 1000)
  --reply-factor N     until a peer has sent again after a reply, the replies are limited to N times
                       what it has sent (default 3; on a loopback address: no limit)

Both:
  --idle-timeout S     closes a tunnel without datagrams (default 120 seconds)
  --json               prints the counters at the end as JSON
  --help               prints this help

Exit codes: 0 success; 1 a check of the demo failed; 2 bad configuration.
`;

/** An error of the user. The message is one line. */
export class UsageError extends Error {}

/** A checked command line. */
export type Config =
  | { readonly role: "demo" }
  | {
      readonly role: "server";
      readonly json: boolean;
      readonly options: ServerOptions;
      readonly certificateFile: string | undefined;
    }
  | { readonly role: "client"; readonly json: boolean; readonly options: ClientOptions };

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const OPTIONS = {
  listen: text,
  allow: { type: "string", multiple: true },
  cert: text,
  key: text,
  "print-cert": text,
  "token-file": text,
  "max-tunnels": text,
  "max-tunnels-per-connection": text,
  retry: flag,
  proxy: text,
  target: text,
  ca: text,
  insecure: flag,
  capsules: flag,
  "max-peers": text,
  "reply-factor": text,
  "idle-timeout": text,
  json: flag,
  help: flag,
} as const;
type Option = keyof typeof OPTIONS;

const COMMON: readonly Option[] = ["listen", "token-file", "idle-timeout", "json", "help"];
const ROLES = {
  demo: ["help"],
  server: [
    ...COMMON,
    "allow",
    "cert",
    "key",
    "print-cert",
    "max-tunnels",
    "max-tunnels-per-connection",
    "retry",
  ],
  client: [...COMMON, "proxy", "target", "ca", "insecure", "capsules", "max-peers", "reply-factor"],
} as const satisfies Record<string, readonly Option[]>;

const COUNT_MAX = 60_000;
const SECONDS_MAX = 2_000_000;

/**
 * Returns the configuration, or `"help"` if help is requested.
 *
 * @throws UsageError if the command line is wrong.
 */
export function readCommandLine(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Config | "help" {
  const { values, positionals } = parseOptions(args);
  if (values.help) return "help";
  const [role = "demo", extra] = positionals;
  if (extra !== undefined) throw new UsageError(`unexpected argument "${extra}"`);
  if (!Object.hasOwn(ROLES, role)) throw new UsageError(`"${role}" expected server or client`);
  const accepted: readonly string[] = ROLES[role as keyof typeof ROLES];
  for (const name of Object.keys(values)) {
    if (!accepted.includes(name)) throw new UsageError(`--${name} is not an option of ${role}`);
  }
  if (role === "demo") return { role };
  const tokens = readTokens(values, environment);
  return role === "server" ? readServer(values, tokens) : readClient(values, tokens);
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

function readServer(values: Values, tokens: readonly string[]): Config {
  const { cert, key, allow = [] } = values;
  if (allow.length === 0) {
    throw new UsageError("server requires --allow RULE: without one, it permits no target");
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("--cert and --key require each other");
  }
  const identity: Identity =
    cert === undefined || key === undefined
      ? makeIdentity()
      : { certificate: readText("cert", cert), key: readText("key", key) };
  return {
    role: "server",
    json: values.json ?? false,
    certificateFile: values["print-cert"],
    options: {
      listen: parseListen("server", values),
      identity,
      allowList: checked("allow", () => new AllowList(allow)),
      tokens,
      tunnelsMax: parseInteger(values, "max-tunnels", 1000),
      tunnelsPerConnectionMax: parseInteger(values, "max-tunnels-per-connection", 256),
      idleTimeoutMs: parseSeconds(values),
      validatesAddresses: values.retry ?? false,
    },
  };
}

function readClient(values: Values, tokens: readonly string[]): Config {
  const { proxy, target, ca } = values;
  if (proxy === undefined) throw new UsageError("client requires --proxy URL");
  if (target === undefined) throw new UsageError("client requires --target host:port");
  const { hostname, port } = parseAddress("target", target, 1);
  const udpTarget: UdpTarget = { host: hostname, port };
  const template = proxy.includes("{")
    ? proxy
    : `${proxy.replace(/\/$/, "")}${DEFAULT_TEMPLATE_PATH}`;
  checked("proxy", () => {
    const parsed = new ConnectUdpTemplate(template);
    if (!parsed.origin.startsWith("https://")) throw new Error(`expected https, got "${proxy}"`);
    if (!URL.canParse(parsed.origin)) throw new Error(`expected URL, got "${proxy}"`);
    return parsed;
  });
  checked("target", () => new ConnectUdpTemplate(template).expand(udpTarget));
  const factor = values["reply-factor"];
  return {
    role: "client",
    json: values.json ?? false,
    options: {
      listen: parseListen("client", values),
      template,
      target: udpTarget,
      token: tokens[0],
      ca: ca === undefined ? undefined : readText("ca", ca),
      isInsecure: values.insecure ?? false,
      usesCapsules: values.capsules ?? false,
      peersMax: parseInteger(values, "max-peers", 1000),
      replyFactor: factor === undefined ? undefined : parseInteger(values, "reply-factor", 3),
      idleTimeoutMs: parseSeconds(values),
    },
  };
}

function readTokens(
  values: Values,
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const file = values["token-file"];
  const lines = file === undefined ? environment.MASQUE_TOKEN : readText("token-file", file);
  const tokens = (lines ?? "").split("\n").map((line) => line.trim());
  const found = tokens.filter((token) => token !== "");
  const wrong = found.some((token) => !/^[\w.~+/-]+=*$/.test(token));
  // RFC 6750, section 2.1. The token itself is not printed.
  if (wrong) throw new UsageError("a token contains characters other than A-Z a-z 0-9 - . _ ~ + /");
  if (file !== undefined && found.length === 0)
    throw new UsageError(`--token-file ${file} is empty`);
  return found;
}

function parseListen(role: string, { listen }: Values): HostAndPort {
  if (listen === undefined) throw new UsageError(`${role} requires --listen host:port`);
  return parseAddress("listen", listen, 0);
}

function parseAddress(name: Option, value: string, portMin: number): HostAndPort {
  const match = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d+)$/.exec(value);
  const hostname = match?.[1] ?? match?.[2];
  if (hostname === undefined) {
    throw new UsageError(`--${name} expected host:port or [IPv6]:port, got "${value}"`);
  }
  const port = Number(match?.[3]);
  if (port < portMin || port > 65_535) {
    throw new UsageError(`--${name} expected port ${portMin}..65535, got ${match?.[3]}`);
  }
  return { hostname, port };
}

function parseInteger(
  values: Values,
  name: "max-tunnels" | "max-tunnels-per-connection" | "max-peers" | "reply-factor",
  fallback: number,
): number {
  const value = values[name];
  if (value === undefined) return fallback;
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= 1 && number <= COUNT_MAX) return number;
  throw new UsageError(`--${name} expected integer 1..${COUNT_MAX}, got "${value}"`);
}

/** Returns the idle timeout in milliseconds. */
function parseSeconds(values: Values): number {
  const value = values["idle-timeout"];
  if (value === undefined) return 120_000;
  const seconds = /^\d{1,9}(\.\d{1,9})?$/.test(value) ? Number(value) : Number.NaN;
  if (seconds > 0 && seconds <= SECONDS_MAX) return seconds * 1000;
  const range = `seconds above 0, at most ${SECONDS_MAX}`;
  throw new UsageError(`--idle-timeout expected ${range}, got "${value}"`);
}

function readText(name: Option, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--${name} cannot read ${file} (${(error as { code?: string }).code})`);
  }
}

/** Converts the error of a wrong value to a `UsageError`. */
function checked<T>(name: Option, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new UsageError(`--${name}: ${(error as Error).message}`);
  }
}
