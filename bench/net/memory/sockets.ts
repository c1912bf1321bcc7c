/**
 * The resident memory that sockets cost after one burst through each: GSO messages are queued at all
 * sockets, and then received and sent back. Prints the growth since before the sockets were
 * opened, in bytes: `open` while all are open and idle, `closed` after all were closed.
 *
 *     sockets.ts library|bun SOCKETS
 */

import { RecvMeta, SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { DATAGRAM_BYTES, datagrams } from "../datagrams.ts";
import { print } from "../peers/meter.ts";

const HOSTNAME = "127.0.0.1";
/** The datagrams of a burst: as many as fit into the default receive buffer. */
const BURST = 48;
/** The buffers per receive: fewer than the burst, as servers do not know how long bursts are. */
const BUFFERS = 8;
/** How long sockets are idle before the memory is read, so that it can be released. */
const IDLE_MS = 3000;
const GC_INTERVAL_MS = 250;
/**
 * Sockets before the measured ones: code is compiled and caches are filled then, which takes 8 MiB
 * however many sockets follow. They stay open, so that the others cannot reuse their memory.
 */
const WARM_UP_SOCKETS = 300;

interface Echo {
  readonly port: number;
  readonly echoed: Promise<void>;
  close(): void;
}

const burst = datagrams.slice(0, BURST);
/** Receives into buffers that all sockets share: they are sent before the next receive. */
const buffers = Array.from({ length: BUFFERS }, () => new Uint8Array(DATAGRAM_BYTES));
const meta = buffers.map(() => new RecvMeta());

const open = process.argv[2] === "bun" ? openBun : openLibrary;

const warmUp = await burstThrough(WARM_UP_SOCKETS);
const before = await settledBytes();
const sockets = await burstThrough(Number(process.argv[3]));
const openBytes = await settledBytes();
for (const socket of sockets) socket.close();
print({ open: openBytes - before, closed: (await settledBytes()) - before });
for (const socket of warmUp) socket.close();
process.exit(0);

/** Opens sockets, sends a burst through each, and returns them. */
async function burstThrough(count: number): Promise<Echo[]> {
  const sender = await UdpSocket.bind({ hostname: HOSTNAME });
  const sockets: Echo[] = [];
  while (sockets.length < count) sockets.push(await open());
  // Within one tick: no socket receives before all bursts are queued.
  for (const { port } of sockets) {
    const sent = sender.trySendMany(burst, { to: SocketAddress.ip(HOSTNAME, port) });
    if (sent !== BURST) throw new Error(`burst expected ${BURST} datagrams, got ${String(sent)}`);
  }
  await Promise.all(sockets.map(({ echoed }) => echoed));
  sender.close();
  return sockets;
}

async function openLibrary(): Promise<Echo> {
  const socket = await UdpSocket.bind({ hostname: HOSTNAME });
  const echoed = Promise.withResolvers<void>();
  void echo(socket, echoed.resolve);
  return {
    port: socket.localAddr.port,
    echoed: echoed.promise,
    close: () => socket.close(),
  };
}

async function echo(socket: UdpSocket, onBurst: () => void): Promise<void> {
  for (let received = 0; ; ) {
    // Rejects when the socket is closed.
    const count = await socket.recvMany(buffers, { meta }).catch(() => 0);
    if (count === 0) return;
    const to = meta.slice(0, count).map(({ peer }) => peer as SocketAddress);
    socket.trySendMany(buffers, { to, count });
    received += count;
    // As servers that wait for something else: meanwhile, the socket keeps unread datagrams.
    await new Promise(setImmediate);
    if (received === BURST) onBurst();
  }
}

async function openBun(): Promise<Echo> {
  const echoed = Promise.withResolvers<void>();
  let received = 0;
  const socket = await Bun.udpSocket({
    hostname: HOSTNAME,
    socket: {
      data(socket, data, port, address) {
        socket.send(data, port, address);
        if (++received === BURST) echoed.resolve();
      },
    },
  });
  return { port: socket.port, echoed: echoed.promise, close: () => socket.close() };
}

/** Returns the resident memory after some idle time and garbage collections. */
async function settledBytes(): Promise<number> {
  for (let waitedMs = 0; waitedMs < IDLE_MS; waitedMs += GC_INTERVAL_MS) {
    Bun.gc(true);
    await Bun.sleep(GC_INTERVAL_MS);
  }
  return process.memoryUsage.rss();
}
