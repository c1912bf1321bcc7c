/**
 * HTTP/3 downloads with Bun's server and client: directly, through the flow proxy, and through
 * naive relays. QUIC decides how many datagrams are sent at a time, so this is what a proxy gets.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EndpointSnapshot } from "../../../examples/flow-proxy/counters.ts";
import type { SocketCounters } from "../../../lib/index.ts";
import { BUN, type Contender, DGRAM_ON_BUN } from "../contenders.ts";
import { DEFAULT_DATAGRAM_BYTES } from "../datagrams.ts";
import type { Figures } from "../measures.ts";
import {
  type Program,
  type Running,
  readProcessorClock,
  startOnAllProcessors,
} from "../processes.ts";
import { measureEach, parameterOf, type Scenario } from "../scenario.ts";

const BYTES_PER_MB = 1e6;
/**
 * The number of downloads before the timed one. Bun compiles the code of the flow proxy meanwhile: in
 * the second 100 MB that takes 32 % of the CPU time of its two halves, in the fourth 8 %.
 */
const WARM_UPS = 3;

const openssl = Bun.which("openssl");
const missing = openssl
  ? {}
  : { missing: "openssl, which makes the certificate, is not installed" };

const programOf = (...words: readonly string[]): Program => ({
  command: () => [process.execPath, join(import.meta.dir, words[0] as string), ...words.slice(1)],
});

/** A contender, and the programs between client and server, from the server's side. */
interface Path extends Contender {
  readonly hops: readonly Program[];
}

export const DIRECT: Path = { name: "direct", ...programOf("server.ts"), hops: [], ...missing };
export const FLOW_PROXY: Path = {
  ...DIRECT,
  name: "datagram-socket, flow proxy",
  hops: [programOf("flow-proxy.ts", "egress"), programOf("flow-proxy.ts", "ingress")],
};

/** Two halves with flow IDs, like the flow proxy, and one process that only forwards. */
function naive({ name }: Contender, file: string): readonly Path[] {
  const halves = [programOf(file, "egress"), programOf(file, "ingress")];
  return [
    { ...DIRECT, name, hops: halves },
    { ...DIRECT, name: `${name}, one hop`, hops: [programOf(file, "single")] },
  ];
}

/** The point of the targets: a download of 100 MB. */
export const DOWNLOAD = { megabytes: 100 };

export const HTTP3: Scenario = {
  suite: "net",
  name: "HTTP/3 download",
  points: [DOWNLOAD],
  contenders: [
    DIRECT,
    ...naive(BUN, "relay-bun.ts"),
    ...naive(DGRAM_ON_BUN, "relay-dgram.ts"),
    FLOW_PROXY,
  ],
  measure: measureEach((contender, point) =>
    measureDownload(contender as Path, parameterOf(point, "megabytes")),
  ),
};

/** Measures one download, in megabytes per second, and what the hops cost. */
async function measureDownload({ hops, ...server }: Path, megabytes: number): Promise<Figures> {
  await using stack = new AsyncDisposableStack();
  const start = (program: Program, ...role: (string | number)[]) =>
    stack.use(startOnAllProcessors(program, DEFAULT_DATAGRAM_BYTES, ...role));
  let port = await portOf(start(server, ...makeCertificate(stack)));
  const relays: Running[] = [];
  for (const hop of hops) {
    const relay = start(hop, port);
    relays.push(relay);
    port = await portOf(relay);
  }
  const lengths = new Array<number>(WARM_UPS + 1).fill(megabytes * BYTES_PER_MB);
  const client = start(programOf("client.ts"), port, ...lengths);
  for (let i = 0; i < WARM_UPS; i++) {
    client.resume();
    await client.next();
  }
  const before = await readHops(relays);
  client.resume();
  const { seconds } = await client.next();
  const after = await readHops(relays);
  const cpuUs = after.cpuUs - before.cpuUs;
  return {
    megabytesPerS: megabytes / (seconds as number),
    ...(hops.length > 0 && { relayCpuMs: (cpuUs / 1e3) * (DOWNLOAD.megabytes / megabytes) }),
    ...(hops.length > 0 && { datagramBytes: meanBytes(before.printed[0], after.printed[0]) }),
    ...perHop(before.printed, after.printed),
  };
}

async function portOf(running: Running): Promise<number> {
  return (await running.next()).port as number;
}

/** Makes a key and a certificate for the server. Returns their paths. They are removed with it. */
function makeCertificate(stack: AsyncDisposableStack): [string, string] {
  const folder = mkdtempSync(join(tmpdir(), "datagram-bench-"));
  stack.defer(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const files = ["-keyout", key, "-out", certificate];
  const made = Bun.spawnSync([openssl ?? "openssl", "req", ...kind, ...name, ...files]);
  if (made.exitCode !== 0) throw new Error(`openssl failed: ${made.stderr.toString().trim()}`);
  return [key, certificate];
}

/** What a relay prints: its datagrams and bytes to clients, or a snapshot. */
type Printed = EndpointSnapshot | { readonly datagrams: number; readonly bytes: number };

interface Reading {
  readonly cpuUs: number;
  readonly printed: readonly Printed[];
}

async function readHops(relays: readonly Running[]): Promise<Reading> {
  const clocks = relays.map(({ pid }) => readProcessorClock(pid));
  const printed: Printed[] = [];
  for (const relay of relays) {
    relay.resume();
    printed.push(await relay.next<Printed>());
  }
  return { cpuUs: clocks.reduce((sum, us) => sum + us, 0), printed };
}

/** Returns the mean length of the datagrams of the server. */
function meanBytes(before: Printed | undefined, after: Printed | undefined): number {
  const [start, end] = [before, after].map((one) => {
    if (one !== undefined && "datagrams" in one) return one;
    const { datagramsReceived = 0, bytesReceived = 0 } = one?.sides.upstream ?? {};
    return { datagrams: datagramsReceived, bytes: bytesReceived };
  });
  if (start === undefined || end === undefined) return 0;
  return (end.bytes - start.bytes) / (end.datagrams - start.datagrams);
}

/** Returns how long the bursts are that each half of the flow proxy receives and sends. */
function perHop(before: readonly Printed[], after: readonly Printed[]): Figures {
  const figures: Figures = {};
  if (before.length === 0 || before.some((printed) => "datagrams" in printed)) return figures;
  for (const [i, role] of (["egress", "ingress"] as const).entries()) {
    const difference = (side: Side, name: keyof SocketCounters) =>
      counterOf(after[i], side, name) - counterOf(before[i], side, name);
    const received = difference("upstream", "datagramsReceived");
    const sent = difference("clients", "datagramsSent");
    figures[`${role}InPerMessage`] = received / difference("upstream", "messagesReceived");
    const calls = difference("upstream", "receiveCalls");
    figures[`${role}InPerCall`] = received / calls;
    figures[`${role}EmptyReceives`] = difference("upstream", "receiveWouldBlocks") / calls;
    figures[`${role}OutPerMessage`] = sent / difference("clients", "messagesSent");
    figures[`${role}OutPerCall`] = sent / difference("clients", "sendCalls");
  }
  return figures;
}

type Side = keyof EndpointSnapshot["sides"];

function counterOf(printed: Printed | undefined, side: Side, name: keyof SocketCounters): number {
  if (printed === undefined || "datagrams" in printed) throw new Error("a relay has no counters");
  return printed.sides[side][name];
}
