/**
 * The two ends of numbered traffic, used by the programs of the fault suite (tools.ts). Every
 * datagram carries its number and a pattern, so that the receiver can tell which datagrams arrived,
 * how often, in which order, and whether they are unaltered.
 */

import type {
  RecvMeta,
  SocketAddress,
  SocketCounters,
  UdpSocket,
  UnixDatagram,
} from "../../lib/index.ts";
import type { Parts, ReceiverOptions, SenderOptions, Talk } from "./tools.ts";

type Library = typeof import("../../lib/index.ts");

/** A way to receive. */
export type ReceiveApi = "batches" | "recvBatch" | "recvMany" | "recvFrom";
/** A way to send. */
export type SendApi = "sendMany" | "sendBatch" | "send" | "trySendMany";

/** The length of the number at the start of a datagram. */
const NUMBER_BYTES = 4;

/** Creates the program's end of the conversation with the test: lines of JSON. */
export function makeTalk(): Talk {
  let lines: AsyncIterator<string> | undefined;
  return {
    say: (value) => process.stdout.write(`${JSON.stringify({ said: value ?? null })}\n`),
    hear: async () => {
      // Opened on first use: a program that hears nothing does not read its input.
      lines ??= console[Symbol.asyncIterator]();
      const { value, done } = await lines.next();
      if (done) throw new Error("the test has ended");
      return JSON.parse(value);
    },
  };
}

/** Returns the datagram with a number. */
export function numbered(number: number, bytes: number): Uint8Array {
  const payload = new Uint8Array(bytes).fill((number * 7) & 0xff);
  new DataView(payload.buffer).setUint32(0, number);
  return payload;
}

// ------------------------------------------------------------------------------- receiver ----

/** The counts of a receiver. */
export interface TallyReport {
  /** All datagrams, including duplicates. */
  readonly received: number;
  /** The different numbers. */
  readonly distinct: number;
  /** Datagrams that arrived after one with a higher number, not counting duplicates. */
  readonly late: number;
  readonly altered: number;
  /** The numbers that arrived, as ranges `[first, last]`. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** Counts numbered datagrams. */
export class Tally {
  received = 0;
  late = 0;
  altered = 0;
  latest = -1;
  readonly #seen: Set<number> = new Set<number>();

  add(bytes: Uint8Array): void {
    this.received++;
    if (bytes.length < NUMBER_BYTES) {
      this.altered++;
      return;
    }
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    const pattern = (number * 7) & 0xff;
    // Every eighth byte: checking all would limit the rate.
    for (let i = NUMBER_BYTES; i < bytes.length; i += 8) {
      if (bytes[i] !== pattern) {
        this.altered++;
        return;
      }
    }
    if (this.#seen.has(number)) return;
    this.#seen.add(number);
    if (number < this.latest) this.late++;
    else this.latest = number;
  }

  report(): TallyReport {
    const numbers = [...this.#seen].sort((left, right) => left - right);
    const ranges: [number, number][] = [];
    for (const number of numbers) {
      const last = ranges.at(-1);
      if (last !== undefined && last[1] === number - 1) last[1] = number;
      else ranges.push([number, number]);
    }
    const { received, late, altered } = this;
    return { received, distinct: numbers.length, late, altered, ranges };
  }
}

/** The counts of a receiver. */
export interface ReceiveReport extends TallyReport {
  readonly counters: SocketCounters;
  /** The latest `socketDrops` of a datagram. */
  readonly socketDrops: number;
  /** The number of echoes that were sent. */
  readonly echoed: number;
  /** The source addresses. */
  readonly peers: readonly string[];
}

/** How long no datagram may arrive before the receiver reports. */
const QUIET_MS = 250;

/** Receives until the test says "report" and no further datagram arrives. Says its port first. */
export async function receive(
  lib: Library,
  talk: Talk,
  options: ReceiverOptions,
): Promise<ReceiveReport> {
  const { hostname, port = 0, backend, receiveBufferBytes = 2 ** 23, gro = true } = options;
  const socket = await lib.UdpSocket.bind({
    hostname,
    port,
    ...(backend === "portable" ? { backend } : { receiveBufferBytes }),
    offload: { gro, gso: true },
    sendErrors: "drop",
  });
  socket.enableMetadata({ socketDrops: true });
  const tally = new Tally();
  const peers = new Set<string>();
  let socketDrops = 0;
  let echoed = 0;
  const take = (bytes: Uint8Array, meta: RecvMeta) => {
    tally.add(bytes);
    socketDrops = meta.socketDrops ?? socketDrops;
    const peer = meta.peer as SocketAddress;
    if (peers.size < 64) peers.add(peer.toString());
    if (options.echoes && socket.trySendTo(bytes, peer) === bytes.length) echoed++;
  };
  const receiving = receiveAll(lib, socket, options, take);
  talk.say(socket.localAddr.port);
  await talk.hear();
  for (let before = -1; before !== tally.received; ) {
    before = tally.received;
    await Bun.sleep(QUIET_MS);
  }
  socket.close();
  await receiving;
  const { counters } = socket;
  return { ...tally.report(), counters, socketDrops, echoed, peers: [...peers] };
}

async function receiveAll(
  lib: Library,
  socket: UdpSocket | UnixDatagram,
  { api = "batches", pauseMs }: Pick<ReceiverOptions, "api" | "pauseMs">,
  take: (bytes: Uint8Array, meta: RecvMeta) => void,
): Promise<void> {
  const pause = () => (pauseMs === undefined ? undefined : Bun.sleep(pauseMs));
  try {
    if (api === "batches") {
      for await (const { length, buffers, meta } of socket.batches({ payloadBytesMax: 9000 })) {
        for (let i = 0; i < length; i++) {
          take((buffers[i] as { asSlice(): Uint8Array }).asSlice(), meta[i] as RecvMeta);
        }
        await pause();
      }
      return;
    }
    const batch = new lib.RecvBatch();
    const bufs = Array.from({ length: api === "recvFrom" ? 1 : 64 }, () => new Uint8Array(9000));
    const meta = bufs.map(() => new lib.RecvMeta());
    for (;;) {
      if (api === "recvBatch") {
        const count = await socket.recvBatch(batch);
        for (let i = 0; i < count; i++) {
          const start = batch.offsetAt(i);
          const bytes = batch.bytes.subarray(start, start + batch.lengthAt(i));
          take(bytes, batch.metaAt(i, meta[0] as RecvMeta));
        }
      } else if (api === "recvFrom") {
        const [buf] = bufs as [Uint8Array];
        const datagram = await socket.recvFrom(buf);
        take(buf.subarray(0, datagram.length), datagram);
      } else {
        const count = await socket.recvMany(bufs, { meta });
        for (let i = 0; i < count; i++) {
          const { length } = meta[i] as RecvMeta;
          take((bufs[i] as Uint8Array).subarray(0, length), meta[i] as RecvMeta);
        }
      }
      await pause();
    }
  } catch (error) {
    if (!lib.isClosedError(error)) throw error;
  }
}

// --------------------------------------------------------------------------------- sender ----

/** The datagrams to send. */
export interface SendPlan {
  readonly count: number;
  /** The number of the first. Default 0. */
  readonly first?: number;
  /** The length of each in bytes. Default 200. */
  readonly bytes?: number;
  /** Default `"sendMany"`. */
  readonly api?: SendApi;
  /** The number of datagrams per call. Default 64. */
  readonly perCall?: number;
  /** The time between two calls. Default 1 ms: the receiver keeps up. */
  readonly pauseMs?: number;
}

/** What the callers were told, and the counters of the socket. */
export interface SendReport {
  /** Datagrams that a call accepted: sent, or dropped and counted (`sendErrors: "drop"`). */
  readonly accepted: number;
  /** The datagrams whose error a call got: their numbers, and the codes. */
  readonly refused: readonly (readonly [number: number, code: string])[];
  readonly counters: SocketCounters;
  readonly dropsByCode: Readonly<Record<string, number>>;
  /** The longest time that a call took. */
  readonly slowestMs: number;
}

/** A transport error as JSON. */
export interface ReportedError {
  readonly code: string;
  readonly mtu: number | undefined;
  readonly destination: string;
  readonly offender: string;
  /** The quoted payload as hexadecimal digits. */
  readonly payload: string;
}

/** What the test says to a sender. */
interface Command {
  readonly send?: SendPlan;
  readonly errors?: boolean;
  readonly advanceMs?: number;
}

/** Opens a socket, says its port, and sends when the test says so. */
export async function serve(
  { lib, talk, clock }: Omit<Parts, "traffic">,
  options: SenderOptions,
): Promise<null> {
  const { hostname, port, isConnected = true, bind = {} } = options;
  const socket = await lib.UdpSocket.bind({
    ...(bind.backend === "portable" ? {} : { sendBufferBytes: 2 ** 22 }),
    hostname: hostname.includes(":") ? "::" : "0.0.0.0",
    ...bind,
    ...(isConnected ? { connect: { hostname, port } } : {}),
  });
  const to = isConnected ? undefined : lib.SocketAddress.ip(hostname, port);
  const errors: ReportedError[] = [];
  if (options.handlesErrors) {
    socket.onTransportError(({ code, mtu, destination, offender, payload }) => {
      const hex = Buffer.from(payload).toString("hex");
      errors.push({
        code,
        mtu,
        destination: `${destination}`,
        offender: `${offender}`,
        payload: hex,
      });
    });
  }
  talk.say(socket.localAddr.port);
  for (;;) {
    const command = (await talk.hear()) as Command;
    if (command.send !== undefined) talk.say(await sendNumbered(lib, socket, command.send, to));
    if (command.errors) talk.say(errors);
    if (command.advanceMs !== undefined) {
      clock.offsetMs += command.advanceMs;
      talk.say(null);
    }
  }
}

/**
 * Sends numbered datagrams, as an application does that goes on after the error of a datagram. No
 * datagram is sent again.
 */
export async function sendNumbered(
  lib: Library,
  socket: UdpSocket | UnixDatagram,
  plan: SendPlan,
  to?: SocketAddress,
): Promise<SendReport> {
  const { count, first = 0, bytes = 200, api = "sendMany", perCall = 64, pauseMs = 1 } = plan;
  const before = { counters: socket.counters, dropsByCode: socket.sendDropsByCode };
  const refused: [number, string][] = [];
  let accepted = 0;
  let slowestMs = 0;
  const end = first + count;
  for (let next = first; next < end; ) {
    const size = api === "send" ? 1 : Math.min(perCall, end - next);
    const bufs = Array.from({ length: size }, (_, i) => numbered(next + i, bytes));
    const startMs = performance.now();
    let sent: number;
    try {
      sent = await sendOnce(lib, socket, api, bufs, to);
    } catch (error) {
      if (!(error instanceof lib.SocketError)) throw error;
      sent = error.sent ?? 0;
      refused.push([next + sent, error.code]);
      next++;
    }
    accepted += sent;
    next += sent;
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
    if (pauseMs > 0) await Bun.sleep(pauseMs);
  }
  const counters = difference(socket.counters, before.counters);
  const dropsByCode = difference(socket.sendDropsByCode, before.dropsByCode);
  return { accepted, refused, counters, dropsByCode, slowestMs };
}

function difference<T extends object>(after: T, before: T): T {
  const earlier = before as Record<string, number>;
  const entries = Object.entries(after).map(([name, value]) => [
    name,
    value - (earlier[name] ?? 0),
  ]);
  return Object.fromEntries(entries) as T;
}

async function sendOnce(
  lib: Library,
  socket: UdpSocket | UnixDatagram,
  api: SendApi,
  bufs: readonly Uint8Array[],
  to: SocketAddress | undefined,
): Promise<number> {
  const [buf] = bufs as [Uint8Array];
  if (api === "send") {
    await (to === undefined ? socket.send(buf) : socket.sendTo(buf, to));
    return 1;
  }
  if (api === "sendBatch") {
    const batch = new lib.SendBatch({ datagrams: bufs.length });
    // The number as a prefix: the kernel gathers it and the payload.
    for (const each of bufs) batch.prefix(each.subarray(0, 4)).push(each.subarray(4), to);
    return socket.sendBatch(batch);
  }
  const range = to === undefined ? {} : { to };
  if (api === "sendMany") return socket.sendMany(bufs, range);
  const sent = socket.trySendMany(bufs, range);
  return sent === lib.WouldBlock ? 0 : sent;
}

// ------------------------------------------------------------- both ends in one process ----

/** The sockets of `openPair`. */
export interface PairOptions {
  readonly kind: "udp" | "udp6" | "unix";
  readonly sendErrors?: "throw" | "drop";
  readonly offload?: boolean;
}

/** Opens a receiver, and a sender that is connected to it, on loopback. */
export async function openPair(
  lib: Library,
  { kind, sendErrors, offload }: PairOptions,
): Promise<{ sender: UdpSocket | UnixDatagram; receiver: UdpSocket | UnixDatagram }> {
  if (kind === "unix") {
    const [sender, receiver] = await lib.UnixDatagram.pair();
    return { sender, receiver };
  }
  const hostname = kind === "udp" ? "127.0.0.1" : "::1";
  const receiver = await lib.UdpSocket.bind({ hostname, offload, receiveBufferBytes: 2 ** 23 });
  const { port } = receiver.localAddr;
  try {
    const sender = await lib.UdpSocket.connect({ hostname, port }, { offload, sendErrors });
    return { sender, receiver };
  } catch (error) {
    receiver.close();
    throw error;
  }
}

/** Receives until the socket is closed, and goes on after other errors, which `take` gets. */
export async function receiveWithErrors(
  lib: Library,
  socket: UdpSocket | UnixDatagram,
  api: ReceiveApi,
  take: (bytes: Uint8Array | undefined, code: string) => void,
): Promise<void> {
  while (!socket.isClosed) {
    try {
      await receiveAll(lib, socket, { api }, (bytes) => take(bytes, ""));
    } catch (error) {
      if (!(error instanceof lib.SocketError)) throw error;
      take(undefined, error.code);
    }
  }
}
