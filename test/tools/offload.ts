/**
 * Helpers of the offload tests: sockets with and without GSO and GRO, datagrams with distinct
 * contents, and all methods of receiving.
 */

import { expect } from "bun:test";
import { loadNative } from "../../ffi/native.ts";
import {
  RecvBatch,
  RecvMeta,
  type SocketAddress,
  UdpSocket,
  type WaitOptions,
  WouldBlock,
} from "../../lib/index.ts";
import { chooseOffload, NO_OFFLOAD, type Offload } from "../../lib/linux/offload.ts";

const loaded = loadNative();

/** The offloads that work on this machine and that its environment does not disable. */
export const AVAILABLE: Offload =
  "native" in loaded ? chooseOffload(loaded.native, undefined) : NO_OFFLOAD;

/** Why the offload tests are skipped; `undefined` if they run. */
export const NO_OFFLOAD_REASON: string | undefined =
  AVAILABLE.gso && AVAILABLE.gro ? undefined : "UDP_SEGMENT or UDP_GRO is not available";
if (NO_OFFLOAD_REASON) console.warn(`offload tests are skipped: ${NO_OFFLOAD_REASON}`);

/** The `offload` options of a sender, which uses GSO, and of a receiver, which uses GRO. */
export interface Ends {
  readonly name: string;
  readonly sender: boolean;
  readonly receiver: boolean;
}

/** All combinations. */
export const ENDS: readonly Ends[] = [
  { name: "GSO and GRO", sender: true, receiver: true },
  { name: "GRO only", sender: false, receiver: true },
  { name: "GSO only", sender: true, receiver: false },
  { name: "no offload", sender: false, receiver: false },
];

/** The receive buffer that the tests need; the system may grant less. */
const RECV_BUFFER_BYTES = 4 * 2 ** 20;
const RECV_BUFFER_GRANTED_BYTES = await grantedBytes();
if (RECV_BUFFER_GRANTED_BYTES < RECV_BUFFER_BYTES) {
  console.warn(
    `the largest batches are skipped: receive buffers of ${RECV_BUFFER_BYTES} bytes expected, ` +
      `got ${RECV_BUFFER_GRANTED_BYTES} (net.core.rmem_max)`,
  );
}

/** Returns the size of the receive buffer that the system grants. */
async function grantedBytes(): Promise<number> {
  if (NO_OFFLOAD_REASON !== undefined) return 0;
  await using socket = await UdpSocket.bind({ receiveBufferBytes: RECV_BUFFER_BYTES });
  return socket.bufferBytes.receive;
}

/** Returns whether the receive buffer can hold `datagrams` datagrams of `bytes` bytes in total. */
export function fitsRecvBuffer(datagrams: number, bytes: number): boolean {
  // A datagram uses at most twice its length, and 1500 bytes of kernel structures.
  return 2 * bytes + 1500 * datagrams <= RECV_BUFFER_GRANTED_BYTES;
}

/** An unconnected sender, and a receiver with a large receive buffer. */
export interface Pair extends Disposable {
  readonly sender: UdpSocket;
  readonly receiver: UdpSocket;
}

/** Opens a sender and a receiver on `hostname`. */
export async function openEnds(
  { sender, receiver }: Omit<Ends, "name">,
  hostname = "127.0.0.1",
): Promise<Pair> {
  const pair = {
    receiver: await UdpSocket.bind({
      hostname,
      offload: receiver,
      backend: "native",
      receiveBufferBytes: RECV_BUFFER_BYTES,
    }),
    sender: await UdpSocket.bind({ hostname, offload: sender, backend: "native" }),
  };
  return {
    ...pair,
    [Symbol.dispose]() {
      pair.sender.close();
      pair.receiver.close();
    },
  };
}

/** Pseudorandom bytes: two different pieces differ unless they are very short. */
const NOISE = new Uint8Array(2 ** 18);
for (let i = 0, state = 1; i < NOISE.length; i++) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  NOISE[i] = state >>> 24;
}

/** Returns datagram number `i` of `bytes` bytes, in its own memory. */
export function datagram(i: number, bytes: number): Uint8Array {
  const start = (i * 7919) % (NOISE.length - 65_536);
  return NOISE.slice(start, start + bytes);
}

/** Returns datagrams of the given lengths, numbered from `first` on. */
export function datagramsOf(lengths: readonly number[], first = 0): Uint8Array[] {
  return lengths.map((bytes, i) => datagram(first + i, bytes));
}

/** Returns an array that has `value` `count` times. */
export function times<T>(count: number, value: T): T[] {
  return new Array<T>(count).fill(value);
}

/** A received datagram. */
export interface Received {
  readonly bytes: Uint8Array;
  /** `undefined` if the method does not return it. */
  readonly peer: SocketAddress | undefined;
}

/** Receives at least one datagram, and returns copies of those received. */
export type Step = (socket: UdpSocket, options: WaitOptions) => Promise<Received[]>;

const metas = Array.from({ length: 256 }, () => new RecvMeta());
const buffers = Array.from({ length: 256 }, () => new Uint8Array(65_536));
const buffer = buffers[0] as Uint8Array;
const singleBatch = new RecvBatch({ messages: 1 });
const batch = new RecvBatch({ messages: 32 });

type StepName =
  | "recv"
  | "recvFrom"
  | "recvMany"
  | "recvMany with 7 buffers"
  | "recvBatch"
  | "recvBatch with 1 message";

/** All methods of receiving. */
export const STEPS: Readonly<Record<StepName, Step>> = {
  recv: async (socket, options) => {
    const length = await socket.recv(buffer, options);
    return [{ bytes: buffer.slice(0, length), peer: undefined }];
  },
  recvFrom: async (socket, options) => {
    const { length, peer } = await socket.recvFrom(buffer, options);
    return [{ bytes: buffer.slice(0, length), peer }];
  },
  recvMany: (socket, options) => receiveSome(socket, buffers.length, options),
  "recvMany with 7 buffers": (socket, options) => receiveSome(socket, 7, options),
  recvBatch: (socket, options) => receiveBatch(socket, batch, options),
  "recvBatch with 1 message": (socket, options) => receiveBatch(socket, singleBatch, options),
};

/** Waits for at least one datagram, and receives up to `count` of the available ones. */
export async function receiveSome(
  socket: UdpSocket,
  count: number,
  options: WaitOptions = {},
): Promise<Received[]> {
  const meta = metas.slice(0, count);
  const got = await socket.recvMany(buffers, { ...options, meta, count });
  return meta.slice(0, got).map(({ length, peer }, i) => ({
    bytes: (buffers[i] as Uint8Array).slice(0, length),
    peer,
  }));
}

/** Receives into `batch`, and returns copies of the datagrams. */
export async function receiveBatch(
  socket: UdpSocket,
  batch: RecvBatch,
  options: WaitOptions = {},
): Promise<Received[]> {
  const count = await socket.recvBatch(batch, options);
  expect(batch.length).toBe(count);
  return Array.from({ length: count }, (_, i) => ({
    bytes: batch.payload(i).slice(),
    peer: batch.peerAt(i),
  }));
}

/** When a datagram that has not arrived is considered lost. */
const LOST_MS = 10_000;

/**
 * Receives `count` datagrams, and checks that no more are queued. Uses `step`, or the step that
 * `step` returns for each call.
 */
export async function receiveAll(
  socket: UdpSocket,
  count: number,
  step: Step | (() => Step) = STEPS.recvMany,
): Promise<Received[]> {
  const received: Received[] = [];
  const signal = AbortSignal.timeout(LOST_MS);
  while (received.length < count) {
    const next = step.length === 0 ? (step as () => Step)() : (step as Step);
    try {
      received.push(...(await next(socket, { signal })));
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new Error(`${count} datagrams expected, only ${received.length} arrived`);
    }
  }
  expect(received.length).toBe(count);
  expect(socket.tryRecv(buffer)).toBe(WouldBlock);
  return received;
}

/** Checks that the received datagrams are those sent, in the same order. */
export function expectSame(received: readonly Received[], sent: readonly Uint8Array[]): void {
  expect(received.map(({ bytes }) => bytes.length)).toEqual(sent.map(({ length }) => length));
  const altered = received.findIndex(
    ({ bytes }, i) => Buffer.compare(bytes, sent[i] as Uint8Array) !== 0,
  );
  expect(`first datagram altered: ${altered}`).toBe("first datagram altered: -1");
}
