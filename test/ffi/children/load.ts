/**
 * Loads the shim, sends a datagram, and prints one line of JSON: why loading failed, the readiness
 * mode, the backend, and the length of the datagram received.
 */

import { existsSync } from "node:fs";
import { loadNative } from "../../../ffi/native.ts";
import { UdpSocket } from "../../../lib/index.ts";
import { loadNativeThread } from "../../../lib/readiness/thread-reactor.ts";

const loaded = loadNative();
const readiness = await loadNativeThread();
const server = await UdpSocket.bind({ hostname: "127.0.0.1" });
const client = await UdpSocket.connect({ hostname: "127.0.0.1", port: server.localAddr.port });
const echo = server.recvFrom(new Uint8Array(16));
await client.send(new TextEncoder().encode("hello"));
const { length } = await echo;
server.close();
client.close();

console.log(
  JSON.stringify({
    reason: "reason" in loaded ? loaded.reason : null,
    mode: "reactor" in readiness ? readiness.reactor.mode : null,
    backend: server.backend,
    echoed: length,
    hasHeaders: existsSync("/usr/include"),
  }),
);
