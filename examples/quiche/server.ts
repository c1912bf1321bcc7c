/**
 * The server of the demonstration. On each stream, a client requests a body by its length in decimal
 * digits, or sends a body after the word "sha256 " and receives its digest. Each DATAGRAM is echoed.
 */

import { writeBody } from "./body.ts";
import type { QuicConnection } from "./connection.ts";
import type { QuicStream } from "./stream.ts";

/** The protocol name (ALPN) of the demonstration. */
export const PROTOCOL = "datagram-socket-demo";

/** What a client writes before a body that it uploads. */
export const UPLOAD_PREFIX = "sha256 ";
const REQUEST_BYTES_MAX = 16;

/** Serves a connection. */
export function serve(connection: QuicConnection): void {
  connection.onDatagram = (bytes) => {
    if (bytes.length <= connection.datagramBytesMax) connection.sendDatagram(bytes);
  };
  connection.onStream = serveStream;
}

function serveStream(stream: QuicStream): void {
  const hasher = new Bun.CryptoHasher("sha256");
  let request = "";
  let isUpload = false;
  stream.onData = (bytes, fin) => {
    if (isUpload) {
      hasher.update(bytes);
    } else {
      const missing = UPLOAD_PREFIX.length - request.length;
      request += new TextDecoder("latin1").decode(bytes.subarray(0, REQUEST_BYTES_MAX));
      isUpload = request.startsWith(UPLOAD_PREFIX);
      if (isUpload) hasher.update(bytes.subarray(missing));
    }
    if (!fin) return;
    const reply = isUpload
      ? stream.write(new TextEncoder().encode(hasher.digest("hex")), true)
      : sendBody(stream, Number(request));
    // Fails only if the client has left, which needs no handling.
    reply.catch(() => {});
  };
}

async function sendBody(stream: QuicStream, bytes: number): Promise<void> {
  if (!Number.isSafeInteger(bytes)) return stream.reset(1);
  await writeBody(stream, bytes);
}
