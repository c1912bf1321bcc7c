/**
 * Measures what several workers receive in total on one port, each with its own socket
 * (SO_REUSEPORT). Prints the port, and then what they received in SECONDS after the first datagram
 * and a warm-up.
 *
 *     workers.ts WORKERS SECONDS
 */

import { UdpSocket } from "../../../lib/index.ts";
import { SLOTS, type Task } from "./worker.ts";

const POLL_MS = 5;
const WARM_UP_MS = 300;

const [count = 1, seconds = 1] = process.argv.slice(2).map(Number);

// Reserves a port for the group. Closed, once the workers have bound it, before any load starts.
const reservation = await UdpSocket.bind({ hostname: "127.0.0.1", reusePort: true });
const { port } = reservation.localAddr;
const received = new BigInt64Array(new SharedArrayBuffer(8 * count * SLOTS));
const workers = Array.from(
  { length: count },
  () => new Worker(new URL("worker.ts", import.meta.url)),
);
await Promise.all(
  workers.map((worker, index) => {
    const bound = Promise.withResolvers<void>();
    worker.onmessage = () => bound.resolve();
    worker.onerror = (event) => bound.reject(event.error);
    const task: Task = { port, received, index };
    worker.postMessage(task);
    return bound.promise;
  }),
);
reservation.close();
console.log(JSON.stringify({ port }));

while (total() === 0) await Bun.sleep(POLL_MS);
await Bun.sleep(WARM_UP_MS);
const before = { total: total(), usage: process.cpuUsage(), rss: process.memoryUsage.rss() };
const startMs = performance.now();
await Bun.sleep(seconds * 1e3);
const { user, system } = process.cpuUsage(before.usage);
console.log(
  JSON.stringify({
    datagrams: total() - before.total,
    seconds: (performance.now() - startMs) / 1e3,
    userSeconds: user / 1e6,
    systemSeconds: system / 1e6,
    memoryGrowthBytes: process.memoryUsage.rss() - before.rss,
  }),
);
process.exit(0);

function total(): number {
  let sum = 0n;
  for (let i = 0; i < received.length; i += SLOTS) sum += Atomics.load(received, i);
  return Number(sum);
}
