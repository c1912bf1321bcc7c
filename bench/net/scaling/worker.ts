/**
 * A Worker of main.ts: receives from a socket that it gets as a descriptor, counts the datagrams in
 * shared memory, and checks which flows they belong to.
 */

import { RecvBatch, UdpSocket } from "../../../lib/index.ts";

/** The message that starts a Worker. */
export interface Task {
  readonly fd: number;
  /** The index of the Worker. */
  readonly index: number;
  readonly workers: number;
  /** The Worker's counters start at `counters[index * SLOTS]`. */
  readonly counters: BigInt64Array<SharedArrayBuffer>;
}

/** The array elements per Worker: counters must not share a cache line of 64 bytes. */
export const SLOTS = 8;
/** The counters of a Worker. `OF_OTHERS`: datagrams whose flow ID belongs to another Worker. */
export const RECEIVED = 0;
export const OF_OTHERS = 1;

declare const self: Worker;

if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<Task>) => void receive(data);
}

async function receive({ fd, index, workers, counters }: Task): Promise<void> {
  const socket = await UdpSocket.fromFd(fd);
  self.postMessage("ready");
  const batch = new RecvBatch();
  const { bytes } = batch;
  for (;;) {
    const count = await socket.recvBatch(batch);
    let others = 0;
    for (let i = 0; i < count; i++) {
      const at = batch.offsetAt(i);
      // The lowest 16 bits of the flow ID.
      const flow = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
      if (flow % workers !== index) others++;
    }
    Atomics.add(counters, index * SLOTS + RECEIVED, BigInt(count));
    if (others > 0) Atomics.add(counters, index * SLOTS + OF_OTHERS, BigInt(others));
  }
}
