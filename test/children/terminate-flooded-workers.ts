/**
 * Terminates three Workers at a time at random moments, while they receive bursts of datagrams and
 * sleep in between. With the argument `early`, possibly before they have opened their sockets.
 * Prints the number of open descriptors after the first and after all rounds, and the number of
 * datagrams that a socket of this thread received meanwhile. Ends with sockets open and datagrams
 * in flight.
 */

import { SocketAddress, UdpSocket } from "../../lib/index.ts";
import { nextTick } from "../tools/sockets.ts";
import { settledDescriptors } from "./settled-descriptors.ts";

const WARM_UP = 5;
const ROUNDS = 30;
const WORKERS = 3;
const LIFETIME_MS_MAX = 15;
/** The lifetime from its start. Loading the library takes about as long. */
const EARLY_LIFETIME_MS_MAX = 60;
const BURST_MS_MAX = 2;

const isEarly = process.argv[2] === "early";

const payloads = Array.from({ length: 16 }, () => new Uint8Array(200));
const sender = await UdpSocket.bind({ hostname: "127.0.0.1" });

/** Terminates a Worker a random time after it has posted its addresses or, if early, its start. */
async function runWorker(): Promise<void> {
  const worker = new Worker(new URL("flooded-worker.ts", import.meta.url).href);
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  let isOver = false;
  const flooding = new Promise<void>((resolve, reject) => {
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.onmessage = ({ data }: MessageEvent<string[]>) => {
      (async () => {
        const addresses = data.map(SocketAddress.parse);
        while (!isOver) {
          for (const to of addresses) sender.trySendMany(payloads, { to });
          await Bun.sleep(Math.random() * BURST_MS_MAX);
        }
      })().catch(reject);
      if (!isEarly) resolve();
    };
    if (isEarly) resolve();
  });
  await flooding;
  await Bun.sleep(Math.random() * (isEarly ? EARLY_LIFETIME_MS_MAX : LIFETIME_MS_MAX));
  worker.terminate();
  if (Math.random() < 0.5) Bun.gc(true);
  await closed;
  isOver = true;
}

const own = await UdpSocket.bind({ hostname: "127.0.0.1" });
let received = 0;
(async () => {
  for (;;) {
    await own.recv(new Uint8Array(1));
    received++;
  }
})();

let before = 0;
let sent = 0;
for (let round = 0; round < WARM_UP + ROUNDS; round++) {
  if (round === WARM_UP) before = await settledDescriptors();
  const workers = Array.from({ length: WORKERS }, runWorker);
  await own.sendTo(new Uint8Array(1), own.localAddr);
  sent++;
  await Promise.all(workers);
  while (received < sent) await nextTick();
}
const after = await settledDescriptors();
console.log(JSON.stringify({ before, after, received }));
process.exit(0);
