/**
 * Downloads a body over HTTP/3 and verifies its SHA-256, once for each length. Waits for a byte on
 * standard input before each download, and prints `{ seconds, bytes }` after it.
 *
 *     client.ts PORT BYTES...
 */

import { readSync } from "node:fs";
import { print } from "../peers/meter.ts";
import { digestOf, makeBody } from "./body.ts";

const [port, ...lengths] = process.argv.slice(2).map(Number);

for (const bytes of lengths) {
  const expected = digestOf([makeBody(bytes)]);
  readSync(0, new Uint8Array(1));
  const startMs = performance.now();
  const response = await fetch(`https://127.0.0.1:${port}/${bytes}`, {
    tls: { rejectUnauthorized: false },
    // Missing from bun-types.
    ...{ protocol: "http3" },
  });
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  const seconds = (performance.now() - startMs) / 1e3;
  // Hashed after the download, so that it costs none of its time.
  const digest = digestOf(chunks);
  if (digest !== expected) throw new Error(`SHA-256 expected ${expected}, got ${digest}`);
  print({ seconds, bytes });
}
process.exit(0);
