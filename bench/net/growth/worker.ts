/** A worker of workers.ts: receives, and counts the datagrams in shared memory. */

import { RecvBatch, UdpSocket } from "../../../lib/index.ts";

/** The message that starts a worker. */
export interface Task {
  readonly port: number;
  readonly received: BigInt64Array<SharedArrayBuffer>;
  /** The worker's counter is `received[index * SLOTS]`. */
  readonly index: number;
}

/** The array elements per worker: counters must not share a cache line of 64 bytes. */
export const SLOTS = 8;

declare const self: Worker;

if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<Task>) => void receive(data);
}

async function receive({ port, received, index }: Task): Promise<void> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", port, reusePort: true });
  self.postMessage("bound");
  const batch = new RecvBatch();
  for (;;) {
    const count = await socket.recvBatch(batch);
    Atomics.add(received, index * SLOTS, BigInt(count));
  }
}
