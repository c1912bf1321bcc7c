/** Groups of sockets that share a port, and which of them gets a datagram. */

import {
  RecvMeta,
  type ReusePortSteering,
  SocketAddress,
  type UdpBindOptions,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { targets } from "./sockets.ts";

/** The datagrams of a drain are cut off at this length. */
const BYTES = 64;

/** Sockets that share a port, in the order in which they were bound. */
export class Group implements AsyncDisposable {
  readonly sockets: UdpSocket[] = [];
  readonly #options: UdpBindOptions;

  constructor(options: UdpBindOptions) {
    this.#options = { ...options, reusePort: true, backend: "native" };
  }

  static async open(count: number, options: UdpBindOptions): Promise<Group> {
    const group = new Group(options);
    for (let i = 0; i < count; i++) await group.add();
    return group;
  }

  get port(): number {
    return this.sockets[0]?.localAddr.port ?? 0;
  }

  /** Binds another socket, at the port of the first one. */
  async add(port: number = this.port): Promise<UdpSocket> {
    const socket = await UdpSocket.bind({ ...this.#options, port });
    this.sockets.push(socket);
    return socket;
  }

  /** Returns what each open socket has received: the peers and the first bytes of the payloads. */
  drain(): { readonly peer: SocketAddress; readonly payload: Uint8Array }[][] {
    return this.sockets.map((socket) => {
      const received = [];
      const meta = [new RecvMeta()];
      const [buffer] = targets(1, BYTES) as [Uint8Array];
      while (!socket.isClosed && socket.tryRecvMany([buffer], { meta }) !== WouldBlock) {
        const { peer, length } = meta[0] as RecvMeta;
        received.push({ peer: peer as SocketAddress, payload: buffer.slice(0, length) });
      }
      return received;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.close();
  }
}

/** Opens `count` clients at different ports, or at the addresses that are given in turn. */
export function openClients(
  count: number,
  peer: { readonly hostname: string; readonly port: number },
  hostnames: readonly string[] = [peer.hostname],
): Promise<UdpSocket[]> {
  const to = SocketAddress.ip(peer.hostname, peer.port);
  return Promise.all(
    Array.from({ length: count }, (_, i) =>
      UdpSocket.bind({ hostname: hostnames[i % hostnames.length] as string, connect: to }),
    ),
  );
}

/** Sends a payload from each client. Returns for each the indices of the sockets that got it. */
export async function placements(
  group: Group,
  clients: readonly UdpSocket[],
  payloads: readonly Uint8Array[],
): Promise<number[]> {
  for (const [i, payload] of payloads.entries()) await (clients[i] as UdpSocket).send(payload);
  const byClient = new Map<string, number>();
  group.drain().forEach((received, index) => {
    for (const { peer } of received) {
      if (byClient.has(keyOf(peer))) throw new Error(`${peer} expected to get one socket, got two`);
      byClient.set(keyOf(peer), index);
    }
  });
  return payloads.map((_, i) => byClient.get(keyOf((clients[i] as UdpSocket).localAddr)) ?? -1);
}

/** Clients at different addresses may have the same port. A dual-stack socket sees IPv4 as mapped. */
function keyOf({ address, port }: SocketAddress): string {
  return `${address.replace(/^::ffff:/, "")} ${port}`;
}

/** Returns the index that a payload must have: a model of the kernel's program. */
export function expectedIndex(payload: Uint8Array, steering: ReusePortSteering): number {
  const { offset, bytes, sockets, mask, within } = steering;
  const isLong = ((payload[0] as number) & 0x80) !== 0;
  const start = within === "quicConnectionId" ? (isLong ? 6 : 1) : 0;
  const digits = payload.slice(start + offset, start + offset + bytes).toHex();
  let bits = BigInt(mask ?? 2 ** (8 * bytes) - 1);
  let field = BigInt(`0x${digits}`) & bits;
  for (; (bits & 1n) === 0n; bits >>= 1n) field >>= 1n;
  return Number(field % BigInt(sockets));
}
