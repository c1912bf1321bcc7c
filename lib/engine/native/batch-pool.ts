/** The receive batches of a thread that no socket has datagrams in, for the next receive. */

import { RecvBatch } from "../../batch/recv-batch.ts";
import { IDLE_MS } from "../../support/idle.ts";
import { startTimer } from "../../support/timers.ts";

/** The capacity of the batches. Some sockets have one of another capacity at first. */
const MESSAGES = 32;

const batches: RecvBatch[] = [];

/** The smallest number of batches since the latest trim: that many were not needed. */
let unused = 0;
let isTrimScheduled = false;

/** Returns an empty batch. */
export function takeBatch(): RecvBatch {
  const batch = batches.pop() ?? new RecvBatch({ messages: MESSAGES });
  if (batches.length < unused) unused = batches.length;
  return batch;
}

/** Takes a batch back whose datagrams have been read. It is kept for a while if others can use it. */
export function giveBatch(batch: RecvBatch): void {
  if (batch.messagesMax !== MESSAGES) return;
  batches.push(batch);
  if (!isTrimScheduled) scheduleTrim();
}

function scheduleTrim(): void {
  isTrimScheduled = true;
  startTimer(IDLE_MS, trim);
}

/** Drops the batches that were not needed since the latest trim: up to 2 MiB of memory each. */
function trim(): void {
  isTrimScheduled = false;
  batches.length -= unused;
  unused = batches.length;
  if (unused > 0) scheduleTrim();
}
