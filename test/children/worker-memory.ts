/**
 * Runs Workers that open a socket, one after another, and terminates them. Prints by how much one
 * Worker increases the private memory of the process in KiB and the number of executable mappings,
 * and that a Worker works after the Worker that compiled the shim has ended.
 */

import { readFileSync } from "node:fs";

const WARM_UP = 30;
const WORKERS = 100;

async function runWorker(): Promise<string> {
  const worker = new Worker(new URL("echo-worker.ts", import.meta.url).href);
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  const address = await new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage("native");
  });
  worker.terminate();
  await closed;
  return address;
}

function executableMappings(): number {
  return readFileSync("/proc/self/maps", "latin1").match(/^\S+ ..x/gm)?.length ?? 0;
}

async function privateKiB(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    Bun.gc(true);
    await Bun.sleep(100);
  }
  return Number(
    /Private_Dirty:\s+(\d+)/.exec(readFileSync("/proc/self/smaps_rollup", "latin1"))?.[1],
  );
}

for (let i = 0; i < WARM_UP; i++) await runWorker();
const before = { kib: await privateKiB(), mappings: executableMappings() };
let address = "";
for (let i = 0; i < WORKERS; i++) address = await runWorker();
const kibPerWorker = ((await privateKiB()) - before.kib) / WORKERS;
const mappingsPerWorker = (executableMappings() - before.mappings) / WORKERS;
console.log(JSON.stringify({ kibPerWorker, mappingsPerWorker, address }));
process.exit(0);
