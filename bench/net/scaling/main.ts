/**
 * Measures how receiving scales with the number of Workers of a `reusePort` group: by the hash of the
 * addresses, and with steering by flow ID. Prints a table. Load processes send as fast as they can
 * from half of the processors.
 *
 *     npm run bench:scaling [-- --workers 8 --load 4 --seconds 1 --rounds 3 --bytes 1200]
 */

import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { UdpSocket } from "../../../lib/index.ts";
import { median } from "../../statistics.ts";
import { OF_OTHERS, RECEIVED, SLOTS, type Task } from "./worker.ts";

const WARM_UP_MS = 500;
const FLOWS_OF_LOAD = 32;
const RECEIVE_BUFFER_BYTES = 2 ** 20;
/** Flow IDs fit into 16 bits, of which Workers check the remainder. */
const LOADS_MAX = 2 ** 16 / FLOWS_OF_LOAD;

const processors = availableParallelism();
const { values } = parseArgs({
  options: {
    workers: { type: "string" },
    load: { type: "string" },
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    bytes: { type: "string", default: "1200" },
  },
});
const loads = Math.min(LOADS_MAX, Number(values.load ?? Math.max(1, processors >> 1)));
const workersMax = Number(values.workers ?? Math.max(2, processors - loads));
const [seconds, rounds, bytes] = [values.seconds, values.rounds, values.bytes].map(Number) as [
  number,
  number,
  number,
];

interface Figures {
  /** Millions of datagrams a second. */
  readonly received: number;
  readonly sent: number;
  /** The processor time of a received datagram in ns, of all Workers. */
  readonly cpuNs: number;
  /** The share of datagrams whose flow belongs to another Worker. */
  readonly ofOthers: number;
}

/** A process that sends. */
class Load implements AsyncDisposable {
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  constructor(port: number, index: number) {
    const args = [port, index * FLOWS_OF_LOAD, FLOWS_OF_LOAD, bytes].map(String);
    this.#child = Bun.spawn([process.execPath, join(import.meta.dir, "load.ts"), ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#lines = linesOf(this.#child.stdout);
  }

  /** Returns the number of datagrams sent so far. */
  async sent(): Promise<number> {
    this.#child.stdin.write("\n");
    this.#child.stdin.flush();
    return Number((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#child.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream) {
    text += new TextDecoder().decode(chunk);
    const lines = text.split("\n");
    text = lines.pop() as string;
    yield* lines;
  }
}

/** Binds the sockets in order, and starts a Worker for each. Returns them and the port. */
async function startWorkers(
  count: number,
  isSteered: boolean,
  counters: BigInt64Array<SharedArrayBuffer>,
): Promise<{ readonly port: number; readonly workers: readonly Worker[] }> {
  const shared = { hostname: "127.0.0.1", reusePort: true, backend: "native" } as const;
  const sockets: UdpSocket[] = [];
  for (let port = 0; sockets.length < count; port = sockets[0]?.localAddr.port as number) {
    const options = { ...shared, port, receiveBufferBytes: RECEIVE_BUFFER_BYTES };
    sockets.push(await UdpSocket.bind(options));
  }
  const [first] = sockets as [UdpSocket];
  if (isSteered) first.setReusePortSteering({ offset: 0, bytes: 4, sockets: count });
  const { port } = first.localAddr;
  const workers = await Promise.all(
    sockets.map(async (socket, index) => {
      const worker = new Worker(new URL("worker.ts", import.meta.url));
      const ready = new Promise((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = reject;
      });
      const task: Task = { fd: socket.intoFd() as number, index, workers: count, counters };
      worker.postMessage(task);
      await ready;
      return worker;
    }),
  );
  return { port, workers };
}

async function measure(count: number, isSteered: boolean): Promise<Figures> {
  const counters = new BigInt64Array(new SharedArrayBuffer(8 * count * SLOTS));
  const { port, workers } = await startWorkers(count, isSteered, counters);
  const total = (counter: number) => {
    let sum = 0n;
    for (let i = 0; i < count; i++) sum += Atomics.load(counters, i * SLOTS + counter);
    return Number(sum);
  };
  await using stack = new AsyncDisposableStack();
  const senders = Array.from({ length: loads }, (_, i) => stack.use(new Load(port, i)));
  const sent = async () =>
    (await Promise.all(senders.map((load) => load.sent()))).reduce((sum, n) => sum + n, 0);
  // The first answer means that the process has started.
  await sent();
  await Bun.sleep(WARM_UP_MS);
  const before = { sent: await sent(), received: total(RECEIVED), others: total(OF_OTHERS) };
  const [startMs, usage] = [performance.now(), process.cpuUsage()];
  await Bun.sleep(seconds * 1e3);
  const { user, system } = process.cpuUsage(usage);
  const received = total(RECEIVED) - before.received;
  const elapsedUs = (performance.now() - startMs) * 1e3;
  const ofOthers = (total(OF_OTHERS) - before.others) / received;
  const figures = {
    received: received / elapsedUs,
    sent: ((await sent()) - before.sent) / elapsedUs,
    cpuNs: ((user + system) * 1e3) / received,
    ofOthers,
  };
  for (const worker of workers) worker.terminate();
  return figures;
}

function row(name: string, all: readonly Figures[]): string {
  const of = (figure: keyof Figures) => median(all.map((figures) => figures[figure]));
  const cells = [
    `${of("received").toFixed(2)} M/s`,
    `${of("sent").toFixed(2)} M/s`,
    `${of("cpuNs").toFixed(0)} ns`,
    `${(of("ofOthers") * 100).toFixed(1)} %`,
  ];
  return `| ${[name, ...cells].join(" | ")} |`;
}

console.log(`${processors} processors, ${loads} load processes, ${bytes} bytes, ${rounds} rounds`);
console.log("| Workers | received | sent | CPU per datagram | flows of other Workers |");
console.log("|---|--:|--:|--:|--:|");
const results = new Map<string, Figures[]>();
for (let round = 0; round < rounds; round++) {
  for (let count = 1; count <= workersMax; count++) {
    for (const isSteered of [false, true]) {
      const name = `${count}, ${isSteered ? "steering by flow ID" : "hash of the addresses"}`;
      const figures = await measure(count, isSteered);
      results.set(name, [...(results.get(name) ?? []), figures]);
    }
  }
}
for (const [name, all] of results) console.log(row(name, all));
process.exit(0);
