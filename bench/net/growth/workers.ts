/**
 * Workers that share a port, each with a socket of its own: what comes in together. Prints the
 * port, and as soon as the first datagrams have come what was received in so many seconds.
 *
 *     workers.ts WORKERS SECONDS
 */

import { UdpSocket } from "../../../lib/index.ts";
import { SLOTS, type Task } from "./worker.ts";

const POLL_MS = 5;
const WARM_UP_MS = 300;

const [count = 1, seconds = 1] = process.argv.slice(2).map(Number);

// Holds the port, and receives nothing: no socket of a group is bound before it is known.
const holder = await UdpSocket.bind({ hostname: "127.0.0.1", reusePort: true });
const { port } = holder.localAddr;
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
holder.close();
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
