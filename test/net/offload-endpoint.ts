/**
 * A program that offload-fallback.test.ts runs in a network namespace.
 *
 * `receive <plan>` prints its address, receives until an empty datagram arrives, and prints a
 * report. `send <plan>` sends numbered datagrams, then two empty ones to each receiver, and prints
 * a report. Plans and reports are JSON.
 */

import {
  RecvMeta,
  SendBatch,
  SocketAddress,
  type UdpBindOptions,
  UdpSocket,
} from "../../lib/index.ts";

/** The socket of the receiver. */
export interface ReceivePlan {
  readonly hostname: string;
  readonly offload?: UdpBindOptions["offload"];
}

/** The datagrams that the receiver received. */
export interface ReceiveReport {
  /** The number and the length of each datagram, in the order of arrival. */
  readonly received: readonly (readonly [number: number, bytes: number])[];
  /** The number of datagrams with altered bytes. */
  readonly altered: number;
  /** The number of messages that the kernel passed to the socket: a GRO message counts once. */
  readonly messagesReceived: number;
}

/** The datagrams of one call. */
export interface SendStep {
  /** The destination and the length of each datagram. */
  readonly datagrams: readonly (readonly [to: string, bytes: number])[];
  /** Whether to use `sendBatch`, with the first byte of each as a prefix. Default: `sendMany`. */
  readonly isBatch?: boolean;
}

/** The socket of the sender, and its calls. */
export interface SendPlan {
  readonly hostname: string;
  /** The peer to connect to. Default: not connected. */
  readonly connect?: string;
  readonly steps: readonly SendStep[];
  /** Makes `sendmmsg` of a single message fail with this error once the socket is open. */
  readonly refuseErrno?: number;
}

/** The counts of each step, and all warnings. */
export interface SendReport {
  /** The number of messages that were passed to the kernel. */
  readonly messages: readonly number[];
  /** The number of GSO messages that the kernel refused. */
  readonly refusals: readonly number[];
  readonly warnings: readonly string[];
}

/** A datagram starts with its number, big-endian. Its other bytes are the number modulo 256. */
const NUMBER_BYTES = 4;

async function receive({ hostname, offload }: ReceivePlan): Promise<ReceiveReport> {
  await using socket = await UdpSocket.bind({ hostname, offload, receiveBufferBytes: 2 ** 22 });
  console.log(socket.localAddr.toString());
  const buffers = Array.from({ length: 64 }, () => new Uint8Array(65_536));
  const meta = buffers.map(() => new RecvMeta());
  const received: [number, number][] = [];
  let altered = 0;
  for (;;) {
    const count = await socket.recvMany(buffers, { meta });
    for (let i = 0; i < count; i++) {
      const { length } = meta[i] as RecvMeta;
      if (length === 0) {
        const messagesReceived = socket.counters.messagesReceived - (count - i);
        return { received, altered, messagesReceived };
      }
      const bytes = (buffers[i] as Uint8Array).subarray(0, length);
      const number = new DataView(bytes.buffer).getUint32(0);
      if (bytes.subarray(NUMBER_BYTES).some((byte) => byte !== (number & 0xff))) altered++;
      received.push([number, length]);
    }
  }
}

async function send({ hostname, connect, steps, refuseErrno }: SendPlan): Promise<SendReport> {
  const warnings: string[] = [];
  process.on("warning", ({ message }) => warnings.push(message));
  const peer = connect === undefined ? undefined : SocketAddress.parse(connect);
  await using socket = await UdpSocket.bind({
    hostname,
    ...(peer === undefined ? {} : { connect: { hostname: peer.address, port: peer.port } }),
  });
  if (refuseErrno !== undefined) {
    const { refuseSingleMessages } = await import("../ffi/refuse-messages.ts");
    refuseSingleMessages(refuseErrno);
  }
  const messages: number[] = [];
  const refusals: number[] = [];
  let number = 0;
  for (const { datagrams, isBatch = false } of steps) {
    const payloads = datagrams.map(([, bytes]) => numbered(number++, bytes));
    const to = datagrams.map(([text]) => SocketAddress.parse(text));
    const before = socket.counters;
    const sent = isBatch
      ? await sendBatch(socket, payloads, to)
      : await sendMany(socket, payloads, to);
    if (sent !== payloads.length) throw new Error(`expected ${payloads.length} sent, got ${sent}`);
    messages.push(socket.counters.messagesSent - before.messagesSent);
    refusals.push(socket.counters.gsoRefusals - before.gsoRefusals);
  }
  const receivers = new Set(steps.flatMap(({ datagrams }) => datagrams.map(([text]) => text)));
  // Two empty datagrams to each receiver: a `sendmmsg` of a single message may be refused.
  const to = [...receivers, ...receivers].map((text) => SocketAddress.parse(text));
  const empty = new Uint8Array(0);
  await sendMany(
    socket,
    to.map(() => empty),
    to,
  );
  // "warning" events are emitted in a later tick than `process.emitWarning` is called.
  for (let tick = 0; tick < 3; tick++) await new Promise((resolve) => setImmediate(resolve));
  return { messages, refusals, warnings };
}

function numbered(number: number, bytes: number): Uint8Array {
  const payload = new Uint8Array(bytes).fill(number & 0xff);
  new DataView(payload.buffer).setUint32(0, number);
  return payload;
}

function sendMany(socket: UdpSocket, payloads: Uint8Array[], to: SocketAddress[]): Promise<number> {
  return socket.sendMany(payloads, { to });
}

function sendBatch(
  socket: UdpSocket,
  payloads: Uint8Array[],
  to: SocketAddress[],
): Promise<number> {
  const batch = new SendBatch({ datagrams: payloads.length });
  for (const [i, payload] of payloads.entries()) {
    batch.prefix(payload.subarray(0, 1)).push(payload.subarray(1), to[i]);
  }
  return socket.sendBatch(batch);
}

if (import.meta.main) {
  const [mode, plan = ""] = process.argv.slice(2);
  const report =
    mode === "receive" ? await receive(JSON.parse(plan)) : await send(JSON.parse(plan));
  console.log(JSON.stringify(report));
}
