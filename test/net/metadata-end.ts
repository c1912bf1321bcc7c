/**
 * One end of a test of metadata between namespaces, as a process: it does what its plan says, and
 * prints what came of it, a line of JSON at a time.
 *
 *     bun metadata-end.ts receive '{"bind": {"hostname": "::"}, "count": 3}'
 *     bun metadata-end.ts send '{"datagrams": [{"to": "10.97.1.2:5000", "ecn": 1}]}'
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

/** What a receiver is to do. */
export interface ReceivePlan {
  readonly bind?: UdpBindOptions;
  /** Default: all that is granted. */
  readonly wanted?: MetadataOptions;
  readonly groups?: readonly Membership[];
  /** Datagrams to wait for. */
  readonly count: number;
}

/** What a receiver says once it is bound. */
export interface Started {
  readonly port: number;
  readonly capabilities?: Capabilities;
  /** The code of the error that kept it from binding. */
  readonly error?: string;
}

/** What it was told of a datagram, as JSON has it. */
export interface ToldInfo {
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

/** A datagram to send, of as many bytes as its place in the plan says. */
export interface PlannedDatagram {
  readonly to: string;
  readonly ecn?: Ecn;
  /** An IP address, with a zone if it needs one. */
  readonly source?: string;
  readonly interfaceIndex?: number;
  /** When to send it, in nanoseconds after the plan began. */
  readonly delayNs?: number;
}

/** What a sender is to do. */
export interface SendPlan {
  readonly bind?: UdpBindOptions;
  /** The clock of transmit times. */
  readonly clock?: TransmitClock;
  readonly datagrams: readonly PlannedDatagram[];
}

/** What came of it. */
export interface SendReport {
  readonly sent: number;
  readonly port: number;
  readonly messages: number;
  /** The code of the error, and its call. */
  readonly error?: string;
  /** When the plan began by the clock of the system, a decimal number of nanoseconds since 1970. */
  readonly startNs: string;
}

function print(line: object): void {
  console.log(JSON.stringify(line));
}

function told(meta: RecvMeta): ToldInfo {
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

function codeOf(error: unknown): string {
  if (!(error instanceof SocketError)) throw error;
  return `${error.code} ${error.syscall}`;
}

async function receive({ bind, wanted, groups = [], count }: ReceivePlan): Promise<void> {
  let socket: UdpSocket;
  try {
    socket = await UdpSocket.bind({ backend: "native", ...bind });
  } catch (error) {
    print({ port: 0, error: codeOf(error) } satisfies Started);
    return;
  }
  for (const group of groups) socket.addMembership(group);
  const capabilities = socket.enableMetadata(wanted);
  print({ port: socket.localAddr.port, capabilities } satisfies Started);
  const metas: RecvMeta[] = [];
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(2000));
  while (metas.length < count) {
    const meta = bufs.map(() => new RecvMeta());
    const got = await socket.recvMany(bufs, { meta });
    metas.push(...meta.slice(0, got));
  }
  print(metas.map(told));
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
    failed = codeOf(error);
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
