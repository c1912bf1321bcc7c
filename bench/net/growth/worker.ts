/** One of workers.ts: receives, and counts in memory that all share. */

import { RecvBatch, UdpSocket } from "../../../lib/index.ts";

/** What a worker is told. */
export interface Task {
  readonly port: number;
  readonly received: BigInt64Array<SharedArrayBuffer>;
  /** Which number it counts in, in units of `SLOTS`. */
  readonly index: number;
}

/** Numbers a worker has to itself: two must not share a cache line of 64 bytes. */
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
