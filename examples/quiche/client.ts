/** The client of the demonstration: transfers and DATAGRAM round trips, each verified. */

import { bodyDigest, writeBody } from "./body.ts";
import type { QuicConnection } from "./connection.ts";
import { UPLOAD_PREFIX } from "./server.ts";

/** A body that was received. */
export interface Download {
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Downloads the body of `bytes` bytes. With `isVerified: false` only its length is checked, which
 * takes less time than its SHA-256.
 *
 * @throws Error if it is not the body.
 */
export async function download(
  connection: QuicConnection,
  bytes: number,
  { isVerified = true }: { readonly isVerified?: boolean } = {},
): Promise<Download> {
  const stream = connection.openStream();
  const hasher = new Bun.CryptoHasher("sha256");
  const ended = Promise.withResolvers<void>();
  const startMs = performance.now();
  let received = 0;
  stream.onData = (data, fin) => {
    received += data.length;
    if (isVerified) hasher.update(data);
    if (fin) ended.resolve();
  };
  await stream.write(new TextEncoder().encode(String(bytes)), true);
  await Promise.race([ended.promise, failed(connection)]);
  const seconds = (performance.now() - startMs) / 1e3;
  if (received !== bytes) throw new Error(`body expected ${bytes} bytes, got ${received}`);
  if (isVerified) expectDigest(hasher.digest("hex"), bytes);
  return { bytes, seconds };
}

/**
 * Uploads the body of `bytes` bytes.
 *
 * @throws Error if the server received something else.
 */
export async function upload(connection: QuicConnection, bytes: number): Promise<void> {
  const stream = connection.openStream();
  const reply = Promise.withResolvers<string>();
  let text = "";
  stream.onData = (data, fin) => {
    text += new TextDecoder().decode(data);
    if (fin) reply.resolve(text);
  };
  await stream.write(new TextEncoder().encode(UPLOAD_PREFIX));
  await writeBody(stream, bytes);
  expectDigest((await Promise.race([reply.promise, failed(connection)])) ?? "", bytes);
}

/**
 * Sends `count` DATAGRAMs, `inFlightMax` at a time, and returns the number of those that came back
 * unaltered. DATAGRAMs are not repeated when they are lost.
 */
export async function echoDatagrams(
  connection: QuicConnection,
  { count, bytes, inFlightMax = 32 }: { count: number; bytes: number; inFlightMax?: number },
): Promise<number> {
  const echoed = new Set<number>();
  const done = Promise.withResolvers<void>();
  const datagram = new Uint8Array(bytes);
  const view = new DataView(datagram.buffer);
  let sent = 0;
  const send = () => {
    while (sent < count && sent - echoed.size < inFlightMax) {
      datagram.fill(sent & 0xff);
      view.setUint32(0, sent);
      if (!connection.sendDatagram(datagram)) return;
      sent++;
    }
  };
  connection.onDatagram = (reply) => {
    const index = new DataView(reply.buffer, reply.byteOffset).getUint32(0);
    if (reply.length === bytes && reply.subarray(4).every((byte) => byte === (index & 0xff))) {
      echoed.add(index);
    }
    if (echoed.size === count) done.resolve();
    else send();
  };
  send();
  const limit = setTimeout(done.resolve, ECHO_MS_MAX);
  await Promise.race([done.promise, failed(connection)]);
  clearTimeout(limit);
  connection.onDatagram = undefined;
  return echoed.size;
}

/** How long `echoDatagrams` waits for DATAGRAMs that may be lost. */
const ECHO_MS_MAX = 5000;

function expectDigest(digest: string, bytes: number): void {
  const expected = bodyDigest(bytes);
  if (digest !== expected) throw new Error(`SHA-256 expected ${expected}, got ${digest}`);
}

/** Rejects when the connection ends. */
async function failed(connection: QuicConnection): Promise<never> {
  const { by, code, reason } = await connection.closed;
  throw new Error(`the connection was closed by ${by}: code ${code} ${reason}`);
}
