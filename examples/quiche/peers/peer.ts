/**
 * What the programs of other QUIC stacks share. They speak the protocol of ../server.ts, so that each
 * of them can be the client or the server of this example. They run on Bun and Deno.
 *
 *     PROGRAM server                           prints { port }, and serves until it is killed
 *     PROGRAM client PORT BYTES DATAGRAMS      prints { seconds, digest, echoed }
 *     PROGRAM both BYTES...                    prints { seconds, cpuMs } for each download
 *
 * The key and certificate are in the environment variable QUIC_IDENTITY, as JSON.
 */

import { createHash } from "node:crypto";
import process from "node:process";
import { bodyDigest } from "../body.ts";

/** The environment variable of the key and certificate. */
export const IDENTITY_VARIABLE = "QUIC_IDENTITY";
/** As PROTOCOL of ../server.ts, which runs on Bun only. */
export const PROTOCOL = "datagram-socket-demo";
/** How long a client waits for DATAGRAMs. They may be lost. */
const ECHO_MS_MAX = 3000;

/** A connection of a client. */
export interface PeerConnection {
  /** Sends a request on a new stream, and yields what the server sends on it. */
  request(text: string): AsyncIterable<Uint8Array>;
  /** Sends a DATAGRAM. */
  sendDatagram(bytes: Uint8Array): Promise<void>;
  /** Calls `handler` for each DATAGRAM. */
  onDatagram(handler: (bytes: Uint8Array) => void): void;
}

/** A QUIC stack. */
export interface PeerStack {
  /** Serves requests, echoes DATAGRAMs, and returns the port. */
  serve(identity: { readonly key: string; readonly certificate: string }): Promise<number>;
  /** Connects to 127.0.0.1. */
  connect(port: number, certificate: string): Promise<PeerConnection>;
}

/** Runs the program as its arguments say. */
export async function runPeer(stack: PeerStack): Promise<never> {
  const [role, ...rest] = process.argv.slice(2);
  const identity = JSON.parse(process.env[IDENTITY_VARIABLE] as string);
  const numbers = rest.map(Number);
  if (role === "server") {
    print({ port: await stack.serve(identity) });
    await new Promise(() => {});
  }
  if (role === "client") {
    const [port = 0, bytes = 0, datagrams = 0] = numbers;
    const connection = await stack.connect(port, identity.certificate);
    const result = await download(connection, bytes, true);
    print({ ...result, echoed: await echo(connection, datagrams) });
  }
  if (role === "both") {
    const connection = await stack.connect(await stack.serve(identity), identity.certificate);
    // The first is verified and serves as the warm-up.
    let isFirst = true;
    for (const bytes of numbers) {
      const before = process.cpuUsage();
      const { seconds, digest } = await download(connection, bytes, isFirst);
      const { user, system } = process.cpuUsage(before);
      if (isFirst && digest !== bodyDigest(bytes)) throw new Error("SHA-256 differs");
      isFirst = false;
      print({ seconds, cpuMs: (user + system) / 1e3 });
    }
  }
  process.exit(0);
}

async function download(
  connection: PeerConnection,
  bytes: number,
  isHashed: boolean,
): Promise<{ seconds: number; digest: string }> {
  const hasher = createHash("sha256");
  const startMs = performance.now();
  let received = 0;
  for await (const chunk of connection.request(String(bytes))) {
    received += chunk.length;
    if (isHashed) hasher.update(chunk);
  }
  const seconds = (performance.now() - startMs) / 1e3;
  if (received !== bytes) throw new Error(`body expected ${bytes} bytes, got ${received}`);
  return { seconds, digest: hasher.digest("hex") };
}

/** Returns the number of DATAGRAMs that came back unaltered. */
async function echo(connection: PeerConnection, count: number): Promise<number> {
  const echoed = new Set<number>();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  connection.onDatagram((bytes) => {
    const index = bytes[0] as number;
    if (bytes.length === 1000 && bytes.every((byte) => byte === index)) echoed.add(index);
    if (echoed.size === count) resolve();
  });
  for (let i = 0; i < count; i++) await connection.sendDatagram(new Uint8Array(1000).fill(i));
  const timer = setTimeout(resolve, ECHO_MS_MAX);
  if (count > 0) await done;
  clearTimeout(timer);
  return echoed.size;
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
