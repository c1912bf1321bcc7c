/**
 * An HTTP/3 server on 127.0.0.1 that prints its port. `GET /N` returns the body of N bytes.
 *
 *     server.ts KEY_FILE CERTIFICATE_FILE
 */

import { print } from "../peers/meter.ts";
import { makeBody } from "./body.ts";

const [key = "", cert = ""] = process.argv.slice(2);
const bodies = new Map<number, Uint8Array<ArrayBuffer>>();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  tls: { key: Bun.file(key), cert: Bun.file(cert) },
  fetch({ url }) {
    const bytes = Number(new URL(url).pathname.slice(1));
    const body = bodies.get(bytes) ?? makeBody(bytes);
    bodies.set(bytes, body);
    return new Response(body);
  },
  // Missing from bun-types.
  ...{ http3: true },
});
print({ port: server.port });
