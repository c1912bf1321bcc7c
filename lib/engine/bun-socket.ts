/** `Bun.udpSocket` as the portable engine uses it: its types, its errors, its habits. */

import type { SocketAddress } from "../address/address.ts";
import { SocketError } from "../support/errors.ts";

/** A socket of Bun's, connected or not. */
export type BunSocket = Bun.udp.Socket<"buffer"> & Bun.udp.ConnectedSocket<"buffer">;

/**
 * Opens a socket of Bun's.
 *
 * @throws SocketError for what the system refuses, Error of the resolver.
 */
export async function openBunSocket(options: object): Promise<BunSocket> {
  try {
    const socket = await Bun.udpSocket(options as Parameters<typeof Bun.udpSocket>[0]);
    return socket as unknown as BunSocket;
  } catch (error) {
    const { name, syscall = "bind" } = error as { name?: string; syscall?: string };
    throw name === "DNSException" ? error : fromBunError(error, syscall);
  }
}

/** What the kernel makes of ICMP messages (icmp(7)): errors of datagrams sent before. */
const ICMP_CODES: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "EMSGSIZE",
  "ENETUNREACH",
  "ENONET",
  "ENOPROTOOPT",
  "EOPNOTSUPP",
  "EPROTO",
]);

/** Whether an error of Bun's may be that of an earlier datagram. */
export function isIcmpError(error: unknown): boolean {
  return ICMP_CODES.has((error as { code?: unknown } | undefined)?.code);
}

/**
 * Sends to `address`: false when the socket is full.
 *
 * Bun has the kernel report ICMP errors to unconnected sockets as well, where one of an earlier
 * datagram, to whomever, keeps this one from being sent. That error is over then.
 */
export function sendUnconnected(
  socket: BunSocket,
  bytes: Uint8Array,
  address: SocketAddress,
): boolean {
  const unconnected = socket as Bun.udp.Socket<"buffer">;
  try {
    return unconnected.send(bytes, address.port, address.address);
  } catch (error) {
    if (!isIcmpError(error)) throw error;
    return unconnected.send(bytes, address.port, address.address);
  }
}

/** Bun's error as a `SocketError`, with what Bun told. */
export function fromBunError(error: unknown, syscall: string): SocketError {
  if (error instanceof SocketError) return error;
  const { errno, code, message } = (error ?? {}) as {
    errno?: number;
    code?: string;
    message?: string;
  };
  return new SocketError({
    errno: Math.abs(errno ?? 0),
    code: code ?? "EIO",
    syscall,
    ...(message === undefined ? {} : { detail: message }),
    cause: error,
  });
}
