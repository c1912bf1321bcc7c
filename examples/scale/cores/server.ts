/**
 * A Worker of the group: a server with state for each flow. Started by worker-group.ts, which sends a
 * `Start`, and then other messages, each of which is answered by one message.
 */

import { RecvMeta, type SocketAddress, UdpSocket, WouldBlock } from "../../../lib/index.ts";
import {
  connectionIdOf,
  decodeRequest,
  encodeReply,
  type Form,
  REQUEST_BYTES_MAX,
} from "./protocol.ts";

/** The first message. */
export interface Start {
  readonly form: Form;
  /** The index of the Worker. */
  readonly worker: number;
  readonly workers: number;
  /** The port to share; 0 for the first socket. */
  readonly port: number;
  /** In place of a socket of its own: the descriptor and the flows of a Worker that has stopped. */
  readonly from?: Handover;
}

/** What a Worker that has stopped hands to its successor. */
export interface Handover {
  readonly fd: number;
  readonly flows: ReadonlyMap<string, Flow>;
}

/** The state of a flow. */
export interface Flow {
  /** The ID that the client has to use. */
  readonly id: Uint8Array;
  seen: number;
}

/** What a Worker has done. */
export interface ServerCounts {
  readonly received: number;
  readonly answered: number;
  readonly flows: number;
}

/** `"stop"` ends receiving and returns a `Handover`, `"close"` closes the socket then. */
export type Command = "counts" | "stop" | "close";

const BATCH = 64;

class Server {
  readonly #socket: UdpSocket;
  readonly #start: Start;
  readonly #flows: Map<string, Flow>;
  readonly #buffers = Array.from({ length: BATCH }, () => Buffer.alloc(REQUEST_BYTES_MAX));
  readonly #meta = Array.from({ length: BATCH }, () => new RecvMeta());
  readonly #stop = new AbortController();
  readonly #served: Promise<void>;
  #answered = 0;

  constructor(socket: UdpSocket, start: Start) {
    this.#socket = socket;
    this.#start = start;
    this.#flows = new Map(start.from?.flows);
    this.#served = this.#serve();
  }

  get counts(): ServerCounts {
    const received = this.#socket.counters.datagramsReceived;
    return { received, answered: this.#answered, flows: this.#flows.size };
  }

  /** Stops, answers what the library has read from the kernel, and leaves the remaining requests. */
  async stop(): Promise<Handover> {
    this.#stop.abort();
    await this.#served;
    const fd = this.#socket.asRawIo() as number;
    while (this.#socket.unreadDatagrams > 0) {
      const count = Math.min(BATCH, this.#socket.unreadDatagrams);
      const got = this.#socket.tryRecvMany(this.#buffers, { meta: this.#meta, count });
      if (got === WouldBlock) break;
      await this.#answer(got as number);
    }
    return { fd, flows: this.#flows };
  }

  close(): void {
    this.#socket.close();
  }

  async #serve(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let count: number;
      try {
        count = await this.#socket.recvMany(this.#buffers, { meta: this.#meta, signal });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      await this.#answer(count);
    }
  }

  async #answer(count: number): Promise<void> {
    const to: SocketAddress[] = [];
    const replies: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const { peer, length } = this.#meta[i] as RecvMeta;
      to.push(peer as SocketAddress);
      replies.push(this.#replyTo((this.#buffers[i] as Buffer).subarray(0, length)));
    }
    this.#answered += await this.#socket.sendMany(replies, { to });
  }

  #replyTo(datagram: Buffer): Uint8Array {
    const { form, worker, workers } = this.#start;
    const { id, number, isFirst } = decodeRequest(form, datagram);
    let flow = this.#flows.get(id.toHex());
    if (flow === undefined) {
      flow = { id: isFirst ? connectionIdOf(worker, workers) : id, seen: 0 };
      this.#flows.set(flow.id.toHex(), flow);
    }
    flow.seen++;
    return encodeReply({ id: flow.id, number, worker, seen: flow.seen });
  }
}

async function open({ port, from }: Start): Promise<UdpSocket> {
  if (from !== undefined) return UdpSocket.fromFd(from.fd);
  return UdpSocket.bind({ hostname: "127.0.0.1", port, reusePort: true, backend: "native" });
}

declare const self: Worker;

if (!Bun.isMainThread) {
  self.onmessage = async ({ data: start }: MessageEvent<Start>) => {
    const socket = await open(start);
    const server = new Server(socket, start);
    self.onmessage = async ({ data: command }: MessageEvent<Command>) => {
      if (command === "stop") self.postMessage(await server.stop());
      else {
        const { counts } = server;
        if (command === "close") server.close();
        self.postMessage(counts);
      }
    };
    self.postMessage(socket.localAddr.port);
  };
}
