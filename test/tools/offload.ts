/** What the tests of offload share: sockets with it and without, and datagrams told apart. */

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

/** What this machine can do, and its environment lets it. */
export const AVAILABLE: Offload =
  "native" in loaded ? chooseOffload(loaded.native, undefined) : NO_OFFLOAD;

/** Why tests of offload are skipped here; `undefined`: they are not. */
export const NO_OFFLOAD_REASON: string | undefined =
  AVAILABLE.gso && AVAILABLE.gro ? undefined : "no UDP_SEGMENT or UDP_GRO here";
if (NO_OFFLOAD_REASON) console.warn(`offload tests are skipped: ${NO_OFFLOAD_REASON}`);

/** Which ends have offload. */
export interface Ends {
  readonly name: string;
  readonly sender: boolean;
  readonly receiver: boolean;
}

/** Offload on and off, at either end. */
export const ENDS: readonly Ends[] = [
  { name: "offload at both ends", sender: true, receiver: true },
  { name: "offload off at the sender", sender: false, receiver: true },
  { name: "offload off at the receiver", sender: true, receiver: false },
  { name: "offload at neither end", sender: false, receiver: false },
];

/** Room for what a test sends before it receives, where the system grants it. */
const RECV_BUFFER_BYTES = 4 * 2 ** 20;
const RECV_BUFFER_GRANTED_BYTES = await grantedBytes();
if (RECV_BUFFER_GRANTED_BYTES < RECV_BUFFER_BYTES) {
  console.warn(
    `the largest batches are skipped: receive buffers of ${RECV_BUFFER_BYTES} bytes expected, ` +
      `got ${RECV_BUFFER_GRANTED_BYTES} (net.core.rmem_max)`,
  );
}

async function grantedBytes(): Promise<number> {
  if (NO_OFFLOAD_REASON !== undefined) return 0;
  await using socket = await UdpSocket.bind({ receiveBufferBytes: RECV_BUFFER_BYTES });
  return socket.bufferBytes.receive;
}

/** Whether that many bytes in that many datagrams can wait in the receive buffer together. */
export function fitsRecvBuffer(datagrams: number, bytes: number): boolean {
  // Each takes up to twice its length, and the kernel's own 1500 bytes, or fewer.
  return 2 * bytes + 1500 * datagrams <= RECV_BUFFER_GRANTED_BYTES;
}

/** A sender, unconnected, and a receiver with a large receive buffer. */
export interface Pair extends Disposable {
  readonly sender: UdpSocket;
  readonly receiver: UdpSocket;
}

/** Opens both ends of a way over loopback. */
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

/** Bytes without a pattern: any two pieces of them differ, if they are not very short. */
const NOISE = new Uint8Array(2 ** 18);
for (let i = 0, state = 1; i < NOISE.length; i++) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  NOISE[i] = state >>> 24;
}

/** Datagram number `i`, in memory of its own. */
export function datagram(i: number, bytes: number): Uint8Array {
  const start = (i * 7919) % (NOISE.length - 65_536);
  return NOISE.slice(start, start + bytes);
}

/** Datagrams of the given lengths, numbered from `first` on. */
export function datagramsOf(lengths: readonly number[], first = 0): Uint8Array[] {
  return lengths.map((bytes, i) => datagram(first + i, bytes));
}

/** `count` times `value`. */
export function times<T>(count: number, value: T): T[] {
  return new Array<T>(count).fill(value);
}

/** A datagram that came. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly peer: SocketAddress | undefined;
}

/** One step of receiving: what it got, copied. */
export type Step = (socket: UdpSocket, options: WaitOptions) => Promise<Received[]>;

const metas = Array.from({ length: 256 }, () => new RecvMeta());
const room = Array.from({ length: 256 }, () => new Uint8Array(65_536));
const one = room[0] as Uint8Array;
const batches = [1, 2, 32].map((messages) => new RecvBatch({ messages }));

type StepName =
  | "recv"
  | "recvFrom"
  | "recvMany"
  | "recvMany of 7"
  | "recvBatch"
  | "recvBatch of 1 message";

/** The ways to receive: each a step that gets one datagram at least. */
export const STEPS: Readonly<Record<StepName, Step>> = {
  recv: async (socket, options) => {
    const length = await socket.recv(one, options);
    return [{ bytes: one.slice(0, length), peer: undefined }];
  },
  recvFrom: async (socket, options) => {
    const { length, peer } = await socket.recvFrom(one, options);
    return [{ bytes: one.slice(0, length), peer }];
  },
  recvMany: (socket, options) => receiveSome(socket, room.length, options),
  "recvMany of 7": (socket, options) => receiveSome(socket, 7, options),
  recvBatch: (socket, options) => receiveBatch(socket, batches[2] as RecvBatch, options),
  "recvBatch of 1 message": (socket, options) =>
    receiveBatch(socket, batches[0] as RecvBatch, options),
};

/** Receives up to `count` datagrams. */
export async function receiveSome(
  socket: UdpSocket,
  count: number,
  options: WaitOptions = {},
): Promise<Received[]> {
  const meta = metas.slice(0, count);
  const got = await socket.recvMany(room, { ...options, meta, count });
  return meta.slice(0, got).map(({ length, peer }, i) => ({
    bytes: (room[i] as Uint8Array).slice(0, length),
    peer,
  }));
}

/** Receives into `batch`, and copies what came. */
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

/** Longer than any datagram over loopback takes: it is lost then. */
const LOST_MS = 10_000;

/** Receives `count` datagrams, by one way or by one that is picked at each step, and no more. */
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
      throw new Error(`${count} datagrams expected, only ${received.length} came`);
    }
  }
  expect(received.length).toBe(count);
  expect(socket.tryRecv(one)).toBe(WouldBlock);
  return received;
}

/** Checks that what came is what was sent, in order. */
export function expectSame(received: readonly Received[], sent: readonly Uint8Array[]): void {
  expect(received.map(({ bytes }) => bytes.length)).toEqual(sent.map(({ length }) => length));
  const altered = received.findIndex(
    ({ bytes }, i) => Buffer.compare(bytes, sent[i] as Uint8Array) !== 0,
  );
  expect(`first datagram altered: ${altered}`).toBe("first datagram altered: -1");
}
