/**
 * Terminates Workers that send and receive, one after the other. Prints the number of open
 * descriptors after the first few and after all, and the number of datagrams that a socket of this
 * thread received meanwhile.
 */

import { UdpSocket } from "../../lib/index.ts";
import { settledDescriptors } from "./settled-descriptors.ts";

const WARM_UP = 5;
const WORKERS = 40;

async function runWorker(): Promise<void> {
  const worker = new Worker(new URL("receiving-worker.ts", import.meta.url).href);
  await new Promise((resolve, reject) => {
    worker.onmessage = resolve;
    worker.onerror = reject;
  });
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  await closed;
}

const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
let echoes = 0;
const echoing = (async () => {
  for (;;) {
    await socket.recv(new Uint8Array(1));
    echoes++;
  }
})().catch(() => {});

let before = 0;
for (let i = 0; i < WARM_UP + WORKERS; i++) {
  if (i === WARM_UP) before = await settledDescriptors();
  await socket.sendTo(new Uint8Array(1), socket.localAddr);
  await runWorker();
}
const after = await settledDescriptors();
socket.close();
await echoing;
console.log(JSON.stringify({ before, after, echoes }));
