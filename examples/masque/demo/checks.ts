/** The checks of the demonstration. Each returns what it found, or throws. */

import { type SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { ConnectUdpTemplate, DEFAULT_TEMPLATE_PATH } from "../../../lib/masque/index.ts";
import { bodyBlocks, bodyDigest } from "../../quiche/body.ts";
import type { Quiche } from "../../quiche/quiche.ts";
import type { Identity } from "../../quiche/tls.ts";
import { QuicheMasqueClient } from "../quiche-client/client.ts";

const REPLY_MS_MAX = 5000;
const ATTEMPTS = 5;
const template = new ConnectUdpTemplate(`https://localhost${DEFAULT_TEMPLATE_PATH}`);

/** Resolves a name with dig(1) through the tunnel. */
export async function checkDig(port: number, name: string, expected: string): Promise<string> {
  const args = ["@127.0.0.1", "-p", `${port}`, "+tries=3", "+time=5", "+short", name];
  const child = Bun.spawn(["dig", ...args], { stdout: "pipe", stderr: "ignore" });
  const answer = (await new Response(child.stdout).text()).trim();
  if (answer !== expected) throw new Error(`expected ${expected}, got "${answer}"`);
  return `${name} is ${answer}`;
}

/** Starts an HTTP/3 server with a body of `bytes` bytes. */
export function startOrigin(identity: Identity, bytes: number): { port: number; stop(): void } {
  const body = new Blob(Array.from(bodyBlocks(bytes), (block) => block.slice()));
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { key: identity.key, cert: identity.certificate },
    // Missing from bun-types.
    ...{ http3: true },
    fetch: () => new Response(body),
  });
  return { port: server.port as number, stop: () => void server.stop(true) };
}

/** Downloads that body through the tunnel, and compares its SHA-256. */
export async function checkDownload(port: number, bytes: number): Promise<string> {
  const startMs = performance.now();
  const response = await fetch(`https://127.0.0.1:${port}/`, {
    tls: { rejectUnauthorized: false },
    signal: AbortSignal.timeout(40_000),
    // Missing from bun-types.
    ...{ protocol: "http3" },
  });
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of response.body ?? []) hasher.update(chunk);
  const seconds = (performance.now() - startMs) / 1e3;
  const digest = hasher.digest("hex");
  if (digest !== bodyDigest(bytes)) throw new Error(`SHA-256 differs: ${digest}`);
  return `${bytes / 1e6} MB at ${(bytes / seconds / 1e6).toFixed(0)} MB/s, SHA-256 equal`;
}

/** Starts a server that sends every datagram back. */
export async function startEcho(): Promise<UdpSocket> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
  void (async () => {
    for await (const { data, peer } of socket) {
      if (peer !== undefined) await socket.sendTo(data, peer);
    }
  })();
  return socket;
}

/** Sends through `count` tunnels at a time, `rounds` datagrams each, and checks every reply. */
export async function checkTunnels(
  port: number,
  { count, rounds }: { readonly count: number; readonly rounds: number },
): Promise<string> {
  const peer = { hostname: "127.0.0.1", port };
  const sockets = await Promise.all(
    Array.from({ length: count }, () => UdpSocket.connect(peer, { sendErrors: "drop" })),
  );
  try {
    const missing = (
      await Promise.all(sockets.map((socket, i) => exchange(socket, i, rounds)))
    ).flat();
    const total = count * rounds;
    const replies = `${count} tunnels, ${total - missing.length} replies`;
    if (missing.length === 0) return `${replies}, all to the right peer`;
    throw new Error(`${replies} of ${total}; without reply: ${missing.slice(0, 10).join(", ")}`);
  } finally {
    for (const socket of sockets) socket.close();
  }
}

/** Returns the rounds without a reply that equals the request. Repeats a lost datagram. */
async function exchange(socket: UdpSocket, id: number, rounds: number): Promise<string[]> {
  const missing: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const name = `tunnel ${id} round ${round}`;
    const text = `${name} `.padEnd(1000, "x");
    let isFound = false;
    for (let attempt = 0; attempt < ATTEMPTS && !isFound; attempt++) {
      await socket.send(text);
      isFound = await hasReply(socket, id, text);
    }
    if (!isFound) missing.push(`${name} (${socket.counters.datagramsReceived} received)`);
  }
  return missing;
}

/** Returns whether `text` arrives in time. Earlier replies of the same peer may be late. */
async function hasReply(socket: UdpSocket, id: number, text: string): Promise<boolean> {
  const signal = AbortSignal.timeout(REPLY_MS_MAX / ATTEMPTS);
  const reply = Buffer.alloc(2048);
  for (;;) {
    const length = await socket.recv(reply, { signal }).catch(() => 0);
    if (length === 0) return false;
    const found = reply.toString("utf8", 0, length);
    if (found === text) return true;
    if (!found.startsWith(`tunnel ${id} `)) throw new Error("a reply reached the wrong peer");
  }
}

/** Lets quiche exchange datagrams with the target, in frames and in capsules. */
export async function checkQuiche(
  quiche: Quiche,
  options: {
    readonly port: number;
    readonly ca: string;
    readonly token: string;
    readonly echo: SocketAddress;
    readonly datagrams: number;
  },
): Promise<string> {
  const { port, ca, token, echo, datagrams } = options;
  await using client = await QuicheMasqueClient.connect(quiche, port, ca);
  const path = template.expand({ host: echo.address, port: echo.port });
  const tunnel = client.connectUdp(path, ["authorization", `Bearer ${token}`]);
  const status = await tunnel.status;
  if (status !== 200) throw new Error(`status ${status}`);
  const expected = new Set<string>();
  const all = Promise.withResolvers<void>();
  tunnel.onPayload = (payload) => {
    expected.delete(Buffer.from(payload).toString("latin1"));
    if (expected.size === 0) all.resolve();
  };
  const texts = Array.from({ length: datagrams }, (_, i) => `datagram ${i} `.padEnd(1000, "x"));
  for (const text of texts) expected.add(text);
  for (let attempt = 0; attempt < ATTEMPTS && expected.size > 0; attempt++) {
    // DATAGRAMs are not repeated when they are lost.
    for (const [i, text] of texts.entries()) {
      if (!expected.has(text)) continue;
      if (i % 2 === 0) tunnel.sendDatagram(Buffer.from(text));
      else tunnel.sendCapsule(Buffer.from(text));
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, REPLY_MS_MAX / ATTEMPTS);
    await Promise.race([all.promise, promise]);
    clearTimeout(timer);
  }
  if (expected.size > 0) {
    const missing = [...expected].map((text) => text.slice(0, 12).trim());
    throw new Error(
      `${missing.length} of ${datagrams} were not echoed: ${missing.slice(0, 5).join(", ")}`,
    );
  }
  const refused = await client.connectUdp(path, ["authorization", "Bearer wrong"]).status;
  if (refused !== 401) throw new Error(`a wrong token got status ${refused}`);
  const internal = template.expand({ host: "10.0.0.1", port: 53 });
  const denied = await client.connectUdp(internal, ["authorization", `Bearer ${token}`]).status;
  if (denied !== 502) throw new Error(`a private address got status ${denied}`);
  return `${datagrams} echoed, half of them sent as capsules; wrong token 401, private address 502`;
}
