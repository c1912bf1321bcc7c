/** Runs the programs of other QUIC stacks, for the demonstration and for tests. */

import { join } from "node:path";
import { IDENTITY_VARIABLE } from "./peers/peer.ts";
import type { Identity } from "./tls.ts";

const ROOT = join(import.meta.dir, "../..");
const PEERS = join(import.meta.dir, "peers");

/** Another QUIC stack: the command of its program, or why it cannot run here. */
export type Peer =
  | { readonly name: string; readonly command: readonly string[]; readonly reason?: never }
  | { readonly name: string; readonly command?: never; readonly reason: string };

/** What a client of another stack reports. */
export interface ClientReport {
  readonly seconds: number;
  /** The SHA-256 of the body that it downloaded. */
  readonly digest: string;
  /** The number of its DATAGRAMs that came back unaltered. */
  readonly echoed: number;
}

/** Returns the other stacks. */
export function findPeers(): readonly Peer[] {
  return [denoPeer(), nodeQuicPeer()];
}

function denoPeer(): Peer {
  const name = "Deno (quinn)";
  const deno =
    Bun.which("deno", { PATH: join(ROOT, "bench/node_modules/.bin") }) ?? Bun.which("deno");
  if (deno === null) return { name, reason: "not installed: npm install --prefix bench" };
  const options = ["run", "--quiet", "-A", "--unstable-net"];
  return { name, command: [deno, ...options, join(PEERS, "deno.ts")] };
}

function nodeQuicPeer(): Peer {
  const name = "node:quic of Bun (ngtcp2)";
  const { exitCode } = Bun.spawnSync([process.execPath, "-e", 'require("node:quic")']);
  if (exitCode !== 0) return { name, reason: `not in Bun ${Bun.version}` };
  return { name, command: [process.execPath, join(PEERS, "node-quic.ts")] };
}

function spawn(command: readonly string[], identity: Identity, ...role: (string | number)[]) {
  const env = { ...process.env, [IDENTITY_VARIABLE]: JSON.stringify(identity) };
  return Bun.spawn([...command, ...role.map(String)], { env, stdout: "pipe", stderr: "pipe" });
}

/**
 * Runs the client of another stack against the server at `port`.
 *
 * @throws Error if it fails, or takes longer than `timeoutMs`.
 */
export async function runPeerClient(
  command: readonly string[],
  identity: Identity,
  options: { port: number; bytes: number; datagrams: number; timeoutMs?: number },
): Promise<ClientReport> {
  const { port, bytes, datagrams, timeoutMs = 15_000 } = options;
  const child = spawn(command, identity, "client", port, bytes, datagrams);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  clearTimeout(timer);
  const line = output.trim().split("\n").at(-1);
  if (!line) throw new Error(`the client has failed: ${errors.trim().split("\n").at(-1)}`);
  return JSON.parse(line) as ClientReport;
}

/** A running server of another stack. */
export interface PeerServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Starts the server of another stack.
 *
 * @throws Error if it exits, or prints no port.
 */
export async function startPeerServer(
  command: readonly string[],
  identity: Identity,
): Promise<PeerServer> {
  const child = spawn(command, identity, "server");
  const end = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (!text.includes("\n")) continue;
    const { port } = JSON.parse(text) as { port: number };
    return { port, [Symbol.asyncDispose]: end };
  }
  const errors = await new Response(child.stderr).text();
  await end();
  throw new Error(`the server has failed: ${errors.trim().split("\n").at(-1)}`);
}
