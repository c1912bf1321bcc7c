/**
 * One end of a way between network namespaces, in a process of its own.
 *
 * `receive {"hostname", "offload"}` says where it listens, receives until a datagram without a
 * byte comes, and says what came. `send {"steps"}` sends, and says what each step took.
 */

import {
  RecvMeta,
  SendBatch,
  SocketAddress,
  type UdpBindOptions,
  UdpSocket,
} from "../../lib/index.ts";

/** What the receiving end is told. */
export interface ReceivePlan {
  readonly hostname: string;
  readonly offload?: UdpBindOptions["offload"];
}

/** What came. */
export interface ReceiveReport {
  /** Number and length of each datagram, in order. */
  readonly received: readonly (readonly [number, number])[];
  /** Datagrams with a byte that is not theirs. */
  readonly altered: number;
  readonly messagesReceived: number;
}

/** Datagrams that are sent by one call. */
export interface SendStep {
  /** Where each datagram goes, and its length. */
  readonly datagrams: readonly (readonly [to: string, bytes: number])[];
  /** `sendBatch` with the first byte of each as a prefix. Default: `sendMany`. */
  readonly isBatch?: boolean;
}

/** What the sending end is told. */
export interface SendPlan {
  readonly hostname: string;
  /** The only peer. Default: none. */
  readonly connect?: string;
  readonly steps: readonly SendStep[];
  /** The error that the system gives to a call with one message, once the socket is open. */
  readonly refuseErrno?: number;
}

/** What it took to send, by step, and what was warned of. */
export interface SendReport {
  readonly messages: readonly number[];
  readonly refusals: readonly number[];
  readonly warnings: readonly string[];
}

/** Bytes before it are the number, big-endian. */
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
    if (sent !== payloads.length) throw new Error(`${payloads.length} to send, ${sent} sent`);
    messages.push(socket.counters.messagesSent - before.messagesSent);
    refusals.push(socket.counters.gsoRefusals - before.gsoRefusals);
  }
  const targets = new Set(steps.flatMap(({ datagrams }) => datagrams.map(([text]) => text)));
  // Two to each, as one alone may be refused.
  const ends = [...targets, ...targets].map((text) => SocketAddress.parse(text));
  const end = new Uint8Array(0);
  await sendMany(
    socket,
    ends.map(() => end),
    ends,
  );
  // Warnings are told in a later turn than they are given.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
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
