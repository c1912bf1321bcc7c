/**
 * Every operation that can wait, ended in every way at every moment: its promise settles, no
 * descriptor leaks, and no datagram is lost or sent twice.
 */

import { describe, expect, test } from "bun:test";
import {
  type DatagramSocket,
  DgramBuffer,
  isClosedError,
  Pending,
  RecvBatch,
  RecvMeta,
  SendBatch,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import {
  BACKENDS,
  nextTick,
  numbered,
  numberOf,
  openDescriptors,
  targets,
  until,
} from "../tools/sockets.ts";

/** Starts an operation that waits, and returns its promise. */
type Operation = (socket: DatagramSocket, signal: AbortSignal) => Promise<unknown>;

/** A poll as a promise: fulfilled with the error of the poll after its waker was called. */
function polled(poll: (waker: () => void) => unknown): Promise<unknown> {
  return new Promise((resolve) => {
    const retry = () => {
      try {
        if (poll(retry) !== Pending) resolve("done");
      } catch (error) {
        resolve(error);
      }
    };
    retry();
  });
}

const buffer = () => new Uint8Array(100);

const RECEIVES: Readonly<Record<string, Operation>> = {
  recv: (socket, signal) => socket.recv(buffer(), { signal }),
  "recv into a DgramBuffer": (socket, signal) =>
    socket.recv(DgramBuffer.withCapacity(100), { signal }),
  recvFrom: (socket, signal) => socket.recvFrom(buffer(), { signal }),
  recvMany: (socket, signal) => socket.recvMany(targets(8, 100), { signal }),
  recvBatch: (socket, signal) => socket.recvBatch(new RecvBatch(), { signal }),
  batches: (socket, signal) => socket.batches({ signal }).next(),
  pollRecv: (socket) => polled((waker) => socket.pollRecv(waker, buffer())),
  pollRecvFrom: (socket) => polled((waker) => socket.pollRecvFrom(waker, buffer(), new RecvMeta())),
  pollRecvMany: (socket) => polled((waker) => socket.pollRecvMany(waker, targets(8, 100))),
  pollRecvBatch: (socket) => polled((waker) => socket.pollRecvBatch(waker, new RecvBatch())),
};

/** Sends that wait: the queue of the peer is full. The numbers tell them from what fills it. */
const SENT = 1_000_000;
const SENDS: Readonly<Record<string, Operation>> = {
  send: (socket, signal) => socket.send(numbered(1, SENT)[0] as Uint8Array, { signal }),
  sendMany: (socket, signal) => socket.sendMany(numbered(50, SENT), { signal }),
  sendBatch: (socket, signal) => {
    const batch = new SendBatch();
    for (const payload of numbered(50, SENT)) batch.push(payload);
    return socket.sendBatch(batch, { signal });
  },
  pollSend: (socket) =>
    polled((waker) => socket.pollSend(waker, numbered(1, SENT)[0] as Uint8Array)),
  pollSendMany: (socket) => polled((waker) => socket.pollSendMany(waker, numbered(50, SENT))),
};

/** A socket with a descriptor. */
type KernelSocket = UdpSocket | UnixDatagram;

/** Ends the socket. Returns a descriptor that the caller owns now, if any. */
type Ending = (socket: KernelSocket) => number | undefined | Promise<undefined>;

const ENDINGS: Readonly<Record<string, Ending>> = {
  close: (socket) => {
    socket.close();
    return undefined;
  },
  dispose: (socket) => {
    socket[Symbol.dispose]();
    return undefined;
  },
  "asynchronous dispose": async (socket) => {
    await socket[Symbol.asyncDispose]();
    return undefined;
  },
  intoFd: (socket) => socket.intoFd(),
};

const MOMENTS: Readonly<Record<string, () => Promise<void> | undefined>> = {
  "at once": () => undefined,
  "in a microtask": () => Promise.resolve(),
  "in the next tick": () => nextTick(),
  "when the thread has slept": () => Bun.sleep(2),
};

/** The result of an operation: "closed", "aborted", "done" or its error. */
async function resultOf(promise: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  try {
    const value = await promise;
    if (isClosedError(value)) return "closed";
    // batches() ends without an error.
    return (value as { done?: boolean } | undefined)?.done === true ? "closed" : value;
  } catch (error) {
    if (isClosedError(error)) return "closed";
    return error === signal.reason ? "aborted" : error;
  }
}

/** Closes a descriptor that `intoFd` returned. */
async function closeFd(fd: number | undefined, adopt: (fd: number) => Promise<KernelSocket>) {
  if (fd !== undefined) (await adopt(fd)).close();
}

describe.each(BACKENDS)("a receive on the %s backend", (backend) => {
  for (const [operation, start] of Object.entries(RECEIVES)) {
    test(`${operation} ends with the socket, in every way and at every moment`, async () => {
      (await UdpSocket.bind({ backend })).close(); // what a thread opens once
      const before = openDescriptors();
      for (const [ending, end] of Object.entries(ENDINGS)) {
        if (backend === "portable" && ending === "intoFd") {
          continue;
        }
        for (const [moment, wait] of Object.entries(MOMENTS)) {
          const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
          const { signal } = new AbortController();
          const result = resultOf(start(socket, signal), signal);
          await wait();
          const fd = await end(socket);
          expect([ending, moment, await result]).toEqual([ending, moment, "closed"]);
          await closeFd(fd, UdpSocket.fromFd);
        }
      }
      // Bun closes its sockets later. If one leaks, the test times out.
      await until(() => openDescriptors() <= before);
    });
  }

  test("every promise is rejected by its signal, and the socket continues", async () => {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    for (const [operation, start] of Object.entries(RECEIVES)) {
      if (operation.startsWith("poll")) continue;
      for (const [moment, wait] of Object.entries(MOMENTS)) {
        const controller = new AbortController();
        const result = resultOf(start(socket, controller.signal), controller.signal);
        await wait();
        controller.abort();
        const expected = operation === "batches" ? "closed" : "aborted";
        expect([operation, moment, await result]).toEqual([operation, moment, expected]);
        // No datagram is taken by an operation that has ended.
        await socket.sendTo(Uint8Array.of(7), socket.localAddr);
        expect(await socket.recv(buffer())).toBe(1);
      }
    }
    socket.close();
  });
});

/** Receives what is queued, and returns the numbers. */
function drain(socket: DatagramSocket): number[] {
  const numbers: number[] = [];
  const bytes = buffer();
  while (typeof socket.tryRecv(bytes) === "number") numbers.push(numberOf(bytes));
  return numbers;
}

describe("a send to a full Unix peer", () => {
  for (const [operation, start] of Object.entries(SENDS)) {
    test(`${operation} ends with the socket, in every way and at every moment`, async () => {
      (await UnixDatagram.unbound()).close();
      const before = openDescriptors();
      for (const [ending, end] of Object.entries(ENDINGS)) {
        for (const [moment, wait] of Object.entries(MOMENTS)) {
          const [socket, peer] = await UnixDatagram.pair();
          let filled = 0;
          while (socket.trySend(numbered(1, filled)[0] as Uint8Array) === 4) filled++;
          const { signal } = new AbortController();
          const result = resultOf(start(socket, signal), signal);
          await wait();
          const fd = await end(socket);
          expect([ending, moment, await result]).toEqual([ending, moment, "closed"]);
          // What was queued before is delivered; nothing of the failed send is.
          expect(drain(peer)).toEqual(numbered(filled).map(numberOf));
          await closeFd(fd, UnixDatagram.fromFd);
          peer.close();
        }
      }
      await until(() => openDescriptors() <= before);
    });
  }

  test("an aborted send reports exactly what was sent", async () => {
    for (const [operation, start] of Object.entries(SENDS)) {
      if (operation.startsWith("poll")) continue;
      for (const taken of [0, 1, 3]) {
        const [socket, peer] = await UnixDatagram.pair();
        let filled = 0;
        while (socket.trySend(numbered(1, filled)[0] as Uint8Array) === 4) filled++;
        const controller = new AbortController();
        const result = resultOf(start(socket, controller.signal), controller.signal);
        const bytes = buffer();
        for (let i = 0; i < taken; i++) peer.tryRecv(bytes);
        await Bun.sleep(5);
        controller.abort();
        const reported = await result;
        const delivered = drain(peer).filter((number) => number >= SENT);
        const isSingle = operation === "send";
        const expected = taken === 0 ? "aborted" : isSingle ? 4 : taken;
        expect([operation, taken, reported]).toEqual([operation, taken, expected]);
        const count = isSingle ? Math.min(1, taken) : taken;
        expect(delivered).toEqual(numbered(count, SENT).map(numberOf));
        socket.close();
        peer.close();
      }
    }
  });
});
