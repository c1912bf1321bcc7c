/** Memory that sockets and batches keep for the next call, and release when there is none. */

import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { loadNative } from "../../ffi/native.ts";
import {
  DgramBuffer,
  RecvMeta,
  recvmmsg,
  SendBatch,
  sendmmsg,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  connectedPair,
  endedWell,
  runScript,
} from "../tools/sockets.ts";

const ARRAYS = 20;
/** The memory of each, of which a datagram is a part. */
const ARRAY_BYTES = 2 ** 20;
const DATAGRAM_BYTES = 1000;
/** The garbage collector scans the stack and the registers, and may see a stale reference. */
const STALE_MAX = 2;
/** A stale reference to an array of buffers holds all of them, but not in each attempt. */
const ATTEMPTS = 3;
const DEADLINE_MS = 1500;
const OPEN_SOCKETS = 100;

const isNative = "native" in loadNative();

/** Returns new views of 1 MiB each, and pushes references to their memory. */
function newViews(references: WeakRef<object>[]): Uint8Array[] {
  return Array.from({ length: ARRAYS }, () => {
    const memory = new ArrayBuffer(ARRAY_BYTES);
    references.push(new WeakRef(memory));
    return new Uint8Array(memory, 100, DATAGRAM_BYTES);
  });
}

/** Collects garbage for a while, and returns how many of the references are alive. */
async function countAlive(references: readonly WeakRef<object>[]): Promise<number> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  for (;;) {
    await Bun.sleep(10);
    Bun.gc(true);
    const alive = references.filter((reference) => reference.deref() !== undefined).length;
    if (alive <= STALE_MAX || performance.now() > deadlineMs) return alive;
  }
}

type Transfer = (sender: UdpSocket, receiver: UdpSocket, views: Uint8Array[]) => Promise<unknown>;

const batch = new SendBatch({ datagrams: 2 * ARRAYS });

const TRANSFERS: Record<string, Transfer> = {
  "sent by send": async (sender, _, views) => {
    for (const view of views) await sender.send(view);
  },
  "sent by sendMany": (sender, _, views) => sender.sendMany(views),
  "sent from DgramBuffers": (sender, _, views) =>
    sender.sendMany(views.map((view) => DgramBuffer.from(view))),
  "sent by sendBatch": (sender, _, views) => {
    for (const view of views) batch.prefixVarint(7).push(view);
    return sender.sendBatch(batch);
  },
  "dropped from a SendBatch": async (_, __, views) => {
    for (const view of views) batch.push(view);
    batch.drop(ARRAYS);
  },
  "received into": async (sender, receiver, views) => {
    for (let i = 0; i < ARRAYS; i++) await sender.send(new Uint8Array(5));
    for (let received = 0; received < ARRAYS; ) {
      received += await receiver.recvMany(views, { start: received });
    }
  },
};

describe.each(BACKENDS)("%s backend", (backend) => {
  test.each(Object.keys(TRANSFERS))(
    "arrays that were %s are garbage while the socket is open",
    async (name) => {
      const { receiver, sender } = await connectedPair(backend);
      let alive = ARRAYS;
      for (let attempt = 0; attempt < ATTEMPTS && alive > STALE_MAX; attempt++) {
        const references: WeakRef<object>[] = [];
        const views = newViews(references);
        await (TRANSFERS[name] as Transfer)(sender, receiver, views);
        // A stale reference to the array must not hold the views.
        views.length = 0;
        alive = await countAlive(references);
      }
      expect(alive).toBeLessThanOrEqual(STALE_MAX);
      expect(batch.length).toBe(0);
      // They can still be used.
      await sender.send(new Uint8Array(3));
      while ((await receiver.recv(new Uint8Array(DATAGRAM_BYTES))) !== 3);
      receiver.close();
      sender.close();
    },
  );
});

test("arrays that were cleared from a SendBatch are garbage", async () => {
  const cleared = new SendBatch({ datagrams: ARRAYS });
  const references: WeakRef<object>[] = [];
  const pushAll = () => {
    for (const view of newViews(references)) cleared.push(view);
  };
  pushAll();
  cleared.clear();
  expect(await countAlive(references)).toBeLessThanOrEqual(STALE_MAX);
  expect(cleared.length).toBe(0);
});

test.skipIf(!isNative)("buffers and metadata that recvmmsg has filled are garbage", async () => {
  const { receiver, sender } = await connectedPair("native");
  const fd = receiver.intoFd() as number;
  const references: WeakRef<object>[] = [];
  const use = () => {
    for (let i = 0; i < ARRAYS; i++) sender.trySend(new Uint8Array(5));
    const bufs = Array.from({ length: ARRAYS }, () => DgramBuffer.withCapacity(10));
    const meta = bufs.map(() => new RecvMeta());
    for (const object of [...bufs, ...meta]) references.push(new WeakRef(object));
    expect(recvmmsg(fd, bufs, meta)).toBe(ARRAYS);
  };
  use();
  expect(await countAlive(references)).toBeLessThanOrEqual(2 * STALE_MAX);
  closeSync(fd);
  sender.close();
});

test.skipIf(!isNative)("arrays that recvmmsg and sendmmsg have used are garbage", async () => {
  const { receiver, sender } = await connectedPair("native");
  const fd = receiver.intoFd() as number;
  const references: WeakRef<object>[] = [];
  const use = () => {
    for (let i = 0; i < ARRAYS; i++) sender.trySend(new Uint8Array(5));
    expect(recvmmsg(fd, newViews(references))).toBe(ARRAYS);
    expect(sendmmsg(fd, newViews(references), sender.localAddr)).toBe(ARRAYS);
  };
  use();
  expect(await countAlive(references)).toBeLessThanOrEqual(2 * STALE_MAX);
  closeSync(fd);
  sender.close();
});

test.skipIf(!isNative)("arrays that wait in a SendBatch are not garbage", async () => {
  const waiting = new SendBatch({ datagrams: ARRAYS + 1 });
  const references: WeakRef<object>[] = [];
  waiting.push(new Uint8Array(1));
  for (const view of newViews(references)) waiting.push(view);
  waiting.drop(1);
  await Bun.sleep(100);
  Bun.gc(true);
  expect(references.every((reference) => reference.deref() !== undefined)).toBe(true);
  const [left, right] = await UnixDatagram.pair();
  expect(await left.sendBatch(waiting)).toBe(ARRAYS);
  expect(await right.recv(new Uint8Array(DATAGRAM_BYTES))).toBe(DATAGRAM_BYTES);
  left.close();
  right.close();
});

/** Returns the number of arrays on the heap that vectors consist of, after garbage collection. */
function countVectorArrays(): number {
  Bun.gc(true);
  return heapStats().objectTypeCounts.Int32Array ?? 0;
}

test.skipIf(!isNative)(
  "idle sockets that have sent and received have no vectors of their own",
  async () => {
    const sockets: UdpSocket[] = [];
    const before = countVectorArrays();
    for (let i = 0; i < OPEN_SOCKETS; i++) {
      // Without GRO, datagrams are received into the caller's buffers with a vector per socket.
      const socket = await UdpSocket.bind({ hostname: "127.0.0.1", offload: { gro: false } });
      await socket.sendMany([new Uint8Array(1), new Uint8Array(2)], { to: socket.localAddr });
      await socket.recvFrom(new Uint8Array(10));
      sockets.push(socket);
    }
    // The addresses of each have two arrays. Active sockets have nine, three for each vector.
    const deadlineMs = performance.now() + DEADLINE_MS;
    let idle = countVectorArrays() - before;
    while (idle > 3 * OPEN_SOCKETS && performance.now() < deadlineMs) {
      await Bun.sleep(20);
      idle = countVectorArrays() - before;
    }
    expect(idle).toBeLessThanOrEqual(3 * OPEN_SOCKETS);
    for (const socket of sockets) {
      await socket.sendTo(new Uint8Array(3), socket.localAddr);
      expect(await socket.recv(new Uint8Array(10))).toBe(2);
      expect(await socket.recv(new Uint8Array(10))).toBe(3);
      socket.close();
    }
  },
);

test.skipIf(!isNative)(
  "the receive memory of closed sockets is released",
  async () => {
    const { retainedMiB } = JSON.parse(endedWell(await runScript("closed-sockets.ts")));
    // 4 to 6 MiB, most of it the heap of JavaScript. The sockets have used 80 KiB each: 7 MiB more.
    expect(retainedMiB).toBeLessThan(8);
  },
  CHILD_TIMEOUT_MS,
);
