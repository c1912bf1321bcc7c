/**
 * Uses the library once in each way that an environment can break: datagrams over UDP and Unix
 * sockets, single and in batches, waiting, closing. Prints the backend, or fails.
 *
 * usage: bun smoke.ts [the backend that is expected]
 */

import {
  type Backend,
  isClosedError,
  RecvBatch,
  SendBatch,
  type SocketAddress,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";

const DATAGRAMS = 200;
const TIMEOUT_MS = 10_000;

/** Throws if two values differ. */
function check(what: string, got: unknown, expected: unknown): void {
  if (got === expected) return;
  throw new Error(`${what}: expected ${String(expected)}, got ${String(got)}`);
}

/** Sends a datagram to a socket that is already waiting, and a reply back. */
async function echo(hostname: string): Promise<Backend> {
  await using server = await UdpSocket.bind({ hostname });
  const { port } = server.localAddr;
  await using client = await UdpSocket.connect({ hostname, port });
  const buffer = new Uint8Array(16);
  const arriving = server.recvFrom(buffer);
  check("send", await client.send(Uint8Array.of(1, 2, 3)), 3);
  const { length, peer } = await arriving;
  check("received bytes", length, 3);
  await server.sendTo(Uint8Array.of(4, 5), peer as SocketAddress);
  check("reply bytes", await client.recv(buffer), 2);
  check("reply", `${buffer.slice(0, 2)}`, "4,5");
  return server.backend;
}

/** Sends a batch, and receives all of it. */
async function batches(hostname: string): Promise<void> {
  await using receiver = await UdpSocket.bind({ hostname });
  await using sender = await UdpSocket.bind({ hostname });
  const out = new SendBatch({ datagrams: DATAGRAMS });
  for (let i = 0; i < DATAGRAMS; i++) {
    out.push(new Uint8Array(100).fill(i), receiver.localAddr);
  }
  await sender.sendBatch(out);
  check("batch after the send", out.length, 0);
  const batch = new RecvBatch();
  for (let received = 0; received < DATAGRAMS; ) {
    const count = await receiver.recvBatch(batch);
    for (let i = 0; i < count; i++) check("payload", batch.payload(i)[99], received++ % 256);
  }
}

/** Sends through a pair, waits for a full queue to empty, and closes a socket that waits. */
async function unix(): Promise<void> {
  const [left, right] = await UnixDatagram.pair();
  const payload = new Uint8Array(1000);
  while (left.trySend(payload) !== WouldBlock);
  const sending = left.send(payload);
  while (right.tryRecv(payload) !== WouldBlock);
  check("send after a full queue", await sending, 1000);
  check("received bytes", await right.recv(payload), 1000);
  const waiting = right.recv(payload).then(
    () => "a datagram",
    (error: unknown) => (isClosedError(error) ? "closed" : String(error)),
  );
  right.close();
  check("receive of a closed socket", await waiting, "closed");
  left.close();
}

const timer = setTimeout(() => {
  console.error("smoke: timed out");
  process.exit(1);
}, TIMEOUT_MS);
const [expected] = process.argv.slice(2);
const backend = await echo("127.0.0.1");
if (expected !== undefined) check("backend", backend, expected);
await batches("127.0.0.1");
// Unix sockets require the native backend.
if (backend === "native") await unix();
clearTimeout(timer);
console.log(`smoke: ok, ${backend} backend`);
