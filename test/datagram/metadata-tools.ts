/** Shared by the metadata tests: paths over loopback, and methods to send and receive metadata. */

import {
  RecvBatch,
  RecvMeta,
  SendBatch,
  type SendMeta,
  SocketAddress,
  UdpSocket,
} from "../../lib/index.ts";
import { HAS_IPV6 } from "../tools/sockets.ts";

/** The size of the receive buffer: space for all that a test sends before it receives. */
const RECV_BUFFER_BYTES = 2 ** 20;

/** The addresses that both ends are bound to, and the destination address to send to. */
export interface Path {
  readonly name: string;
  readonly receiver: string;
  readonly sender: string;
  readonly to: string;
  readonly isConnected: boolean;
}

const ENDS: readonly Omit<Path, "isConnected">[] = [
  { name: "IPv4", receiver: "0.0.0.0", sender: "0.0.0.0", to: "127.0.0.1" },
  { name: "IPv6", receiver: "::1", sender: "::1", to: "::1" },
  { name: "dual stack to IPv4", receiver: "127.0.0.1", sender: "::", to: "127.0.0.1" },
  {
    name: "dual stack to IPv4-mapped",
    receiver: "127.0.0.1",
    sender: "::",
    to: "::ffff:127.0.0.1",
  },
  { name: "dual stack to IPv6", receiver: "::", sender: "::", to: "::1" },
  { name: "IPv4 to dual stack", receiver: "::", sender: "127.0.0.1", to: "127.0.0.1" },
  { name: "dual stack to dual stack by IPv4", receiver: "::", sender: "::", to: "127.0.0.1" },
];

/** The paths over loopback that this machine supports. */
export const PATHS: readonly Path[] = ENDS.filter(({ to, sender, receiver }) =>
  [to, sender, receiver].some((address) => address.includes(":")) ? HAS_IPV6 : true,
).flatMap((ends) => [
  { ...ends, isConnected: false },
  { ...ends, name: `${ends.name}, connected`, isConnected: true },
]);

/** Both ends of a path. */
export interface PathEnds extends Disposable {
  readonly receiver: UdpSocket;
  readonly sender: UdpSocket;
  /** The destination of each datagram. Absent if the sender is connected. */
  readonly to: SocketAddress | undefined;
}

/** Opens both ends of a path. */
export async function openPath(path: Omit<Path, "name">, offload = true): Promise<PathEnds> {
  const options = { backend: "native", offload } as const;
  const receiver = await UdpSocket.bind({
    ...options,
    hostname: path.receiver,
    receiveBufferBytes: RECV_BUFFER_BYTES,
  });
  const { port } = receiver.localAddr;
  const sender = await UdpSocket.bind({
    ...options,
    hostname: path.sender,
    ...(path.isConnected ? { connect: { hostname: path.to, port } } : {}),
  });
  return {
    receiver,
    sender,
    to: path.isConnected ? undefined : SocketAddress.ip(path.to, port),
    [Symbol.dispose]() {
      receiver.close();
      sender.close();
    },
  };
}

/** Opens an unconnected sender and a receiver over IPv4, both bound to the wildcard address. */
export function openIPv4(offload = true): Promise<PathEnds> {
  const path = { receiver: "0.0.0.0", sender: "0.0.0.0", to: "127.0.0.1", isConnected: false };
  return openPath(path, offload);
}

/** Sends a datagram of one byte for each entry, all in one batch, and returns their number. */
export function sendEach(
  { sender, to }: Pick<PathEnds, "sender" | "to">,
  all: readonly (SendMeta | undefined)[],
): Promise<number> {
  const batch = new SendBatch({ datagrams: Math.max(1, all.length) });
  for (const [i, metadata] of all.entries()) batch.meta(metadata).push(Uint8Array.of(i), to);
  return sender.sendBatch(batch);
}

/** Receives at least one datagram with one call, and returns the metadata of each. */
type Receive = (socket: UdpSocket, countMax: number) => Promise<RecvMeta[]>;

/** The calls that return metadata. `recvFrom` and `recvBatch` ignore `countMax`. */
export const RECEIVE_METHODS: Readonly<Record<"recvFrom" | "recvMany" | "recvBatch", Receive>> = {
  recvFrom: async (socket) => {
    const meta = await socket.recvFrom(new Uint8Array(2000));
    return [Object.assign(new RecvMeta(), meta)];
  },
  recvMany: async (socket, countMax) => {
    const bufs = Array.from({ length: countMax }, () => new Uint8Array(2000));
    const meta = bufs.map(() => new RecvMeta());
    const got = await socket.recvMany(bufs, { meta });
    return meta.slice(0, got);
  },
  recvBatch: async (socket) => {
    const batch = new RecvBatch({ messages: 4 });
    const got = await socket.recvBatch(batch);
    return Array.from({ length: got }, (_, i) => batch.metaAt(i));
  },
};

/** Receives at least `count` datagrams, and returns the metadata of each. */
export async function receiveMetas(
  socket: UdpSocket,
  count: number,
  receive: Receive = RECEIVE_METHODS.recvMany,
): Promise<RecvMeta[]> {
  const all: RecvMeta[] = [];
  while (all.length < count) all.push(...(await receive(socket, count - all.length)));
  return all;
}

/** Receives one datagram, and returns its metadata. */
export async function receiveOne(socket: UdpSocket): Promise<RecvMeta> {
  const [meta] = await receiveMetas(socket, 1);
  return meta as RecvMeta;
}
