/**
 * Terminates Workers while they open their first socket, for a number of milliseconds, while
 * another thread opens and closes files and sockets. Prints the number of Workers, what the other
 * thread has counted, the errors of Workers (Bun loads their modules from files), and the number of
 * descriptors that the Workers have left open.
 *
 * Arguments: the moment (see opening-worker.ts), the milliseconds.
 */

import { settledDescriptors } from "./settled-descriptors.ts";

const [moment, durationMs] = [process.argv[2] as string, Number(process.argv[3])];

const CONCURRENT = 2;
const WARM_UP = 5;
/** Also on a machine that needs longer for them. */
const WORKERS_MIN = 11;
/** Opening the first socket of a Worker takes a few milliseconds. */
const DELAY_MS_MAX = 8;

interface Counts {
  readonly opened: number;
  readonly lost: number;
}

function startWorker(name: string): Worker {
  return new Worker(new URL(name, import.meta.url).href);
}

function nextMessage<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}

async function terminate(worker: Worker): Promise<void> {
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.terminate();
  await closed;
}

async function runWorker(): Promise<void> {
  const worker = startWorker("opening-worker.ts");
  const message = nextMessage(worker);
  worker.postMessage(moment);
  await message;
  if (moment === "random") await Bun.sleep(Math.random() * DELAY_MS_MAX);
  await terminate(worker);
}

let workers = 0;
const errors: string[] = [];
async function runWorkersUntil(deadlineMs: number): Promise<void> {
  for (; performance.now() < deadlineMs || workers < WORKERS_MIN; workers++) {
    await runWorker().catch((error) => errors.push(error.message));
  }
}

for (let i = 0; i < WARM_UP; i++) await runWorker();
const before = await settledDescriptors();
const witness = startWorker("witness-worker.ts");
await nextMessage(witness);
const deadlineMs = performance.now() + durationMs;
await Promise.all(Array.from({ length: CONCURRENT }, () => runWorkersUntil(deadlineMs)));
const counts = nextMessage<Counts>(witness);
witness.postMessage("end");
const { opened, lost } = await counts;
await terminate(witness);
const left = (await settledDescriptors()) - before;
console.log(JSON.stringify({ workers, opened, lost, errors, left }));
process.exit(0);
