/** A flooded socket leaves the rest of its thread alive: timers, other sockets, other callers. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { isClosedError, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { connectedPair, nextTurn, numbered, targets } from "../tools/sockets.ts";

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
  // Its descriptors are closed then, which other files count.
  const ended = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  flooded.close();
  await loop;
  await ended;
});

/** A receiver that never waits for anything but datagrams. */
async function receiveAll(): Promise<void> {
  const bufs = targets(64, 1500);
  const meta = bufs.map(() => new RecvMeta());
  for (;;) received += await flooded.recvMany(bufs, { meta });
}

test("an interval of 10 ms keeps firing", async () => {
  const before = received;
  let ticks = 0;
  const interval = setInterval(() => ticks++, INTERVAL_MS);
  const startMs = performance.now();
  await Bun.sleep(FLOOD_MS);
  const elapsedMs = performance.now() - startMs;
  clearInterval(interval);
  // It is a flood: without a budget for each turn no timer would fire at all.
  expect(received - before).toBeGreaterThan(1000);
  expect(ticks).toBeGreaterThanOrEqual(Math.floor(elapsedMs / INTERVAL_MS / 3));
});

test("other sockets of both backends are served", async () => {
  for (const backend of ["native", "portable"] as const) {
    const { receiver, sender } = await connectedPair(backend);
    const before = received;
    // Fifty, and on until the flood had its part.
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

test("turns of the event loop go on: one takes a bounded number of datagrams", async () => {
  let most = 0;
  const start = received;
  while (received - start < 20_000) {
    const before = received;
    await nextTurn();
    most = Math.max(most, received - before);
  }
  // 512 is the budget; a batch that began within it is taken to its end, in a turn or the next.
  expect(most).toBeLessThanOrEqual(2 * (512 + 128 * 32));
});
