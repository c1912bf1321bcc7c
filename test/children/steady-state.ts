/**
 * Tests that steady-state sending and receiving allocates nothing per datagram.
 *
 * A million small objects make the garbage collector run, which clears weak references to
 * older garbage. The rounds run in one tick of the event loop, because idle collections run between
 * ticks.
 */

import { expect, test } from "bun:test";
import {
  DatagramSocketRecv,
  DgramBuffer,
  type Payload,
  RecvBatch,
  RecvMeta,
  type Target,
  UdpSocket,
} from "../../lib/index.ts";
import { watchGarbage } from "../tools/allocation.ts";
import { CHILD_TIMEOUT_MS, nextTick } from "../tools/sockets.ts";

const BATCH = 64;
/** A million datagrams. Half a million objects once caused no collection, with musl. */
const ROUNDS = 16_000;
const WARM_UP_ROUNDS = 1000;
const ATTEMPTS_MAX = 5;

/** Returns whether the garbage collector runs during the rounds. */
async function isCollectedDuring(round: () => void): Promise<boolean> {
  Bun.gc(true);
  const watched = watchGarbage();
  // A new WeakRef keeps its object alive until the current task ends.
  await nextTick();
  for (let i = 0; i < ROUNDS; i++) round();
  return watched.some((ref) => ref.deref() === undefined);
}

/**
 * Returns whether rounds allocate at least one small object per datagram: then every attempt ends
 * with a collection. Allocations of the engine itself cause one in some attempts only.
 */
async function allocatesPerDatagram(round: () => void): Promise<boolean> {
  for (let i = 0; i < WARM_UP_ROUNDS; i++) round();
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (!(await isCollectedDuring(round))) return false;
  }
  return true;
}

interface Buffers {
  readonly payloads: readonly Payload[];
  readonly targets: readonly Target[];
  readonly reset: () => void;
}

function byteArrays(): Buffers {
  const make = () => Array.from({ length: BATCH }, () => new Uint8Array(100));
  return { payloads: make(), targets: make(), reset: () => {} };
}

function dgramBuffers(): Buffers {
  const payloads = Array.from({ length: BATCH }, () => DgramBuffer.fromSlice(new Uint8Array(100)));
  const targets = Array.from({ length: BATCH }, () => DgramBuffer.withCapacity(100));
  const reset = () => {
    for (let i = 0; i < BATCH; i++) (targets[i] as DgramBuffer).clear();
  };
  return { payloads, targets, reset };
}

/** Returns a function that sends a batch from one socket to the other and receives it. */
function roundOf([sender, receiver]: readonly UdpSocket[], buffers: Buffers): () => void {
  const { payloads, targets, reset } = buffers;
  const meta = targets.map(() => new RecvMeta());
  const send = { to: receiver?.localAddr };
  const receive = { meta, start: 0 };
  return () => {
    reset();
    sender?.trySendMany(payloads, send);
    const received = receiver?.tryRecvMany(targets, receive);
    if (received !== BATCH) throw new Error(`${BATCH} datagrams expected, got ${String(received)}`);
  };
}

function open(offload: boolean): Promise<UdpSocket[]> {
  const options = { hostname: "127.0.0.1", backend: "native", offload } as const;
  return Promise.all([UdpSocket.bind(options), UdpSocket.bind(options)]);
}

test.each([
  ["Uint8Array", true, byteArrays],
  ["Uint8Array", false, byteArrays],
  ["DgramBuffer", true, dgramBuffers],
] as const)(
  "batches of 64 datagrams in %s objects allocate nothing per datagram (offload: %p)",
  async (_, offload, make) => {
    const sockets = await open(offload);
    expect(await allocatesPerDatagram(roundOf(sockets, make()))).toBe(false);
    for (const socket of sockets) socket.close();
  },
  CHILD_TIMEOUT_MS,
);

/** A socket type of a user that always has a datagram. */
class Endless extends DatagramSocketRecv {
  override pollRecvFrom(_waker: unknown, buf: Target, meta: RecvMeta): number {
    (buf as Uint8Array)[0] = 1;
    meta.length = meta.datagramLength = 100;
    return 100;
  }
}

test(
  "the default pollRecvBatch of a user-defined socket type allocates nothing per datagram",
  async () => {
    const socket = new Endless();
    const batch = new RecvBatch({ messages: BATCH });
    const meta = new RecvMeta();
    let bytes = 0;
    const round = () => {
      if (socket.tryRecvBatch(batch) !== BATCH) throw new Error(`${BATCH} datagrams expected`);
      for (let i = 0; i < BATCH; i++) {
        bytes += (batch.bytes[batch.offsetAt(i)] as number) * batch.metaAt(i, meta).length;
      }
    };
    expect(await allocatesPerDatagram(round)).toBe(false);
    expect(bytes % (100 * BATCH)).toBe(0);
    expect(bytes).toBeGreaterThan(0);
  },
  CHILD_TIMEOUT_MS,
);

test(
  "one small object per datagram is detected",
  async () => {
    const sockets = await open(true);
    const round = roundOf(sockets, byteArrays());
    const kept: object[] = [];
    const leaky = () => {
      round();
      for (let i = 0; i < BATCH; i++) kept[0] = { i };
    };
    expect(await allocatesPerDatagram(leaky)).toBe(true);
    for (const socket of sockets) socket.close();
  },
  CHILD_TIMEOUT_MS,
);
