/** Starts the Workers of a group in order, and replaces one of them while clients send. */

import { UdpSocket, UnixDatagram } from "../../../lib/index.ts";
import { type Form, steeringOf } from "./protocol.ts";
import type { Command, Handover, ServerCounts, Start } from "./server.ts";

/** A Worker, which answers each message by one. */
class ServerWorker {
  readonly #worker = new Worker(new URL("server.ts", import.meta.url));

  /** The previous message must have been answered. */
  ask<Answer>(message: Start | Command): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = ({ message: reason }) => reject(new Error(reason));
      this.#worker.postMessage(message);
    });
  }

  async close(): Promise<ServerCounts> {
    const counts = await this.ask<ServerCounts>("close");
    this.#worker.terminate();
    return counts;
  }
}

/** Workers whose sockets share a port. The socket with index i belongs to Worker i. */
export class WorkerGroup implements AsyncDisposable {
  readonly form: Form;
  #port = 0;
  readonly #workers: ServerWorker[] = [];
  /** The counts of Workers that were replaced. */
  readonly #earlier: ServerCounts[] = [];

  private constructor(form: Form) {
    this.form = form;
  }

  static async start(form: Form, count: number): Promise<WorkerGroup> {
    const group = new WorkerGroup(form);
    for (let worker = 0; worker < count; worker++) {
      const started = new ServerWorker();
      group.#workers.push(started);
      // One after the other, as the index of a socket is its place in the order of binding.
      const start: Start = { form, worker, workers: count, port: group.#port };
      group.#port = await started.ask<number>(start);
    }
    return group;
  }

  get port(): number {
    return this.#port;
  }

  get size(): number {
    return this.#workers.length;
  }

  /** Enables steering, with any socket of the group: here one that joins for this purpose. */
  async steer(): Promise<void> {
    const shared = { hostname: "127.0.0.1", port: this.#port, reusePort: true };
    const socket = await UdpSocket.bind(shared);
    socket.setReusePortSteering(steeringOf(this.form, this.size));
    // It was the last one, so the others keep their indices.
    socket.close();
  }

  /** Replaces a Worker. Its socket stays open, so that all sockets keep their indices. */
  async replace(worker: number): Promise<void> {
    const old = this.#workers[worker] as ServerWorker;
    const { fd, flows } = await old.ask<Handover>("stop");
    const successor = new ServerWorker();
    const from = { fd: await duplicate(fd), flows };
    const { form, size: workers } = this;
    await successor.ask({ form, worker, workers, port: this.#port, from });
    this.#workers[worker] = successor;
    this.#earlier.push(await old.close());
  }

  /** Returns what each Worker has done, those that were replaced at the end. */
  async counts(): Promise<ServerCounts[]> {
    const current = this.#workers.map((worker) => worker.ask<ServerCounts>("counts"));
    return [...(await Promise.all(current)), ...this.#earlier];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

/** Returns a duplicate of a descriptor of this process. The caller owns it. */
async function duplicate(fd: number): Promise<number> {
  const [left, right] = await UnixDatagram.pair();
  try {
    await left.sendFds(new Uint8Array(1), [fd]);
    using received = await right.recvFds(new Uint8Array(1), { fdsMax: 1 });
    return received.intoFds()[0] as number;
  } finally {
    left.close();
    right.close();
  }
}
