/** A socket that is flooded with datagrams does not starve timers and other sockets. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { isClosedError, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { connectedPair, nextTick, numbered, targets } from "../tools/sockets.ts";

const INTERVAL_MS = 10;
const FLOOD_MS = 500;

let flooded: UdpSocket;
let worker: Worker;
let received = 0;
let loop: Promise<void>;

beforeAll(async () => {
  flooded = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  worker = new Worker(new URL("../children/flooding-worker.ts", import.meta.url).href);
  const started = new Promise((resolve) => {
    worker.onmessage = resolve;
  });
  worker.postMessage(flooded.localAddr.toString());
  await started;
  loop = receiveAll().catch((error) => {
    if (!isClosedError(error)) throw error;
  });
});

afterAll(async () => {
  // Waits until its descriptors are closed, because tests in other files count descriptors.
  const ended = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  flooded.close();
  await loop;
  await ended;
});

/** Receives continuously, and waits for nothing but datagrams. */
async function receiveAll(): Promise<void> {
  const bufs = targets(64, 1500);
  const meta = bufs.map(() => new RecvMeta());
  for (;;) received += await flooded.recvMany(bufs, { meta });
}

test("an interval of 10 ms fires while another socket is flooded", async () => {
  const before = received;
  let calls = 0;
  const interval = setInterval(() => calls++, INTERVAL_MS);
  const startMs = performance.now();
  await Bun.sleep(FLOOD_MS);
  const elapsedMs = performance.now() - startMs;
  clearInterval(interval);
  // So many datagrams that, without a budget per tick, no timer would fire at all.
  expect(received - before).toBeGreaterThan(1000);
  expect(calls).toBeGreaterThanOrEqual(Math.floor(elapsedMs / INTERVAL_MS / 3));
});

test("sockets of both backends send and receive while another socket is flooded", async () => {
  for (const backend of ["native", "portable"] as const) {
    const { receiver, sender } = await connectedPair(backend);
    const before = received;
    // 50 rounds, or more until the flooded socket has received a datagram meanwhile.
    for (let i = 0; i < 50 || received === before; i++) {
      await sender.send(numbered(1, i)[0] as Uint8Array);
      const { peer } = await receiver.recvFrom(new Uint8Array(4));
      await receiver.sendTo(new Uint8Array(2), peer as never);
      expect(await sender.recv(new Uint8Array(4))).toBe(2);
    }
    sender.close();
    receiver.close();
  }
});

test("a flooded socket receives a bounded number of datagrams per event loop tick", async () => {
  let most = 0;
  const start = received;
  while (received - start < 20_000) {
    const before = received;
    await nextTick();
    most = Math.max(most, received - before);
  }
  // The budget is 2048 per tick, which the last batch (64) may exceed, and `nextTick` may span two
  // ticks. The limit leaves room beyond that.
  expect(most).toBeLessThanOrEqual(9216);
});
