/**
 * A program that tests run in a network namespace (namespaces.ts): receives or sends datagrams with
 * metadata according to a plan, and prints the results as lines of JSON.
 *
 *     bun metadata-endpoint.ts receive '{"bind": {"hostname": "::"}, "count": 3}'
 *     bun metadata-endpoint.ts send '{"datagrams": [{"to": "10.97.1.2:5000", "ecn": 1}]}'
 */

import {
  type Capabilities,
  type Ecn,
  type Membership,
  type MetadataOptions,
  RecvMeta,
  SendBatch,
  type SendMeta,
  SocketAddress,
  SocketError,
  type TransmitClock,
  type UdpBindOptions,
  UdpSocket,
} from "../../lib/index.ts";

/** The socket of a receiver, and the number of datagrams to receive. */
export interface ReceivePlan {
  readonly bind?: UdpBindOptions;
  /** The metadata to enable. Default: all kinds that the kernel supports. */
  readonly metadata?: MetadataOptions;
  /** The multicast groups to join. */
  readonly groups?: readonly Membership[];
  /** The number of datagrams to wait for. */
  readonly count: number;
}

/** The first line that a receiver prints: the result of `bind`. */
export interface BindReport {
  /** The port, or 0 if binding failed. */
  readonly port: number;
  readonly capabilities?: Capabilities;
  /** The code and system call of the error, if binding failed. */
  readonly error?: string;
}

/** A `RecvMeta` as JSON. */
export interface ReceivedMeta {
  readonly length: number;
  readonly peer: string;
  readonly destination: string;
  readonly originalDestination: string;
  readonly interfaceIndex: number;
  readonly ecn?: Ecn;
  readonly mark?: number;
  /** A decimal number. */
  readonly timestampNs: string;
}

/** A datagram to send. Number `i` of a plan, counted from 0, has `i + 1` bytes. */
export interface PlannedDatagram {
  readonly to: string;
  readonly ecn?: Ecn;
  /** An IP address, with a zone if it needs one. */
  readonly source?: string;
  readonly interfaceIndex?: number;
  /** The transmit time, in nanoseconds after the start of the plan. */
  readonly delayNs?: number;
}

/** The socket of a sender, and the datagrams to send as one batch. */
export interface SendPlan {
  readonly bind?: UdpBindOptions;
  /** The clock of transmit times. */
  readonly clock?: TransmitClock;
  readonly datagrams: readonly PlannedDatagram[];
}

/** The line that a sender prints. */
export interface SendReport {
  /** The number of datagrams sent. */
  readonly sent: number;
  /** The local port. */
  readonly port: number;
  /** The number of messages that were passed to the kernel. */
  readonly messages: number;
  /** The code and system call of the error, if sending failed. */
  readonly error?: string;
  /** The start of the plan on the wall clock, a decimal number of nanoseconds since 1970. */
  readonly startNs: string;
}

function print(line: object): void {
  console.log(JSON.stringify(line));
}

function toJson(meta: RecvMeta): ReceivedMeta {
  const { length, peer, destination, originalDestination, interfaceIndex, ecn, mark } = meta;
  return {
    length,
    peer: `${peer}`,
    destination: `${destination}`,
    originalDestination: `${originalDestination}`,
    interfaceIndex,
    ...(ecn === undefined ? {} : { ecn }),
    ...(mark === undefined ? {} : { mark }),
    timestampNs: `${meta.timestampNs}`,
  };
}

/** Returns the code and the system call of a `SocketError`. */
function describeError(error: unknown): string {
  if (!(error instanceof SocketError)) throw error;
  return `${error.code} ${error.syscall}`;
}

async function receive({ bind, metadata, groups = [], count }: ReceivePlan): Promise<void> {
  let socket: UdpSocket;
  try {
    socket = await UdpSocket.bind({ backend: "native", ...bind });
  } catch (error) {
    print({ port: 0, error: describeError(error) } satisfies BindReport);
    return;
  }
  for (const group of groups) socket.addMembership(group);
  const capabilities = socket.enableMetadata(metadata);
  print({ port: socket.localAddr.port, capabilities } satisfies BindReport);
  const metas: RecvMeta[] = [];
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(2000));
  while (metas.length < count) {
    const meta = bufs.map(() => new RecvMeta());
    const received = await socket.recvMany(bufs, { meta });
    metas.push(...meta.slice(0, received));
  }
  print(metas.map(toJson));
  socket.close();
}

async function send({ bind, clock, datagrams }: SendPlan): Promise<void> {
  const socket = await UdpSocket.bind({ backend: "native", ...bind });
  const batch = new SendBatch({ datagrams: Math.max(1, datagrams.length) });
  let sent = 0;
  let failed: string | undefined;
  const startNs = `${BigInt(Date.now()) * 1_000_000n}`;
  try {
    if (clock !== undefined) socket.setTransmitTimes(clock);
    const now = socket.transmitClockNs;
    for (const [i, { to, ecn, source, interfaceIndex, delayNs }] of datagrams.entries()) {
      const metadata: SendMeta = {
        ecn,
        source: source === undefined ? undefined : SocketAddress.ip(source, 0),
        interfaceIndex,
        transmitTimeNs: delayNs === undefined ? undefined : now + BigInt(delayNs),
      };
      batch.meta(metadata).push(new Uint8Array(i + 1), SocketAddress.parse(to));
    }
    sent = await socket.sendBatch(batch);
  } catch (error) {
    failed = describeError(error);
  }
  print({
    sent,
    port: socket.localAddr.port,
    messages: socket.counters.messagesSent,
    ...(failed === undefined ? {} : { error: failed }),
    startNs,
  } satisfies SendReport);
  socket.close();
}

const [mode, plan = "{}"] = process.argv.slice(2);
await (mode === "receive" ? receive(JSON.parse(plan)) : send(JSON.parse(plan)));
