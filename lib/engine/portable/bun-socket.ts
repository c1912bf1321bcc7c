/** `Bun.udpSocket` as the portable engine uses it: its types and its errors. */

import type { SocketAddress } from "../../address/socket-address.ts";
import { mayBeTransportError, SocketError } from "../../support/errors.ts";
import { sendHint } from "../send-hints.ts";

/** A socket of Bun, connected or not. */
export type BunSocket = Bun.udp.Socket<"buffer"> & Bun.udp.ConnectedSocket<"buffer">;

/**
 * Opens a socket with `Bun.udpSocket`.
 *
 * @throws SocketError if the system refuses.
 */
export async function openBunSocket(
  local: SocketAddress,
  peer: SocketAddress | undefined,
  handlers: object,
): Promise<BunSocket> {
  const target = local.family === "IPv6" ? peer?._toMapped() : peer;
  const options = {
    hostname: local.address,
    port: local.port,
    ...(target && { connect: { hostname: target.address, port: target.port } }),
    socket: handlers,
  };
  try {
    const socket = await Bun.udpSocket(options as Parameters<typeof Bun.udpSocket>[0]);
    return socket as unknown as BunSocket;
  } catch (error) {
    const { syscall = "bind" } = error as { syscall?: string };
    throw fromBunError(error, syscall, syscall === "connect" ? peer : local);
  }
}

/**
 * Sends to `address`, and returns false if the socket is full.
 *
 * Bun enables IP_RECVERR on unconnected sockets, so an ICMP error about an earlier datagram to any
 * peer makes this call fail. The kernel clears the error, and the second call succeeds.
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
    if (!mayBeTransportError(error)) throw error;
    return unconnected.send(bytes, address.port, address.address);
  }
}

/** Converts an error of Bun to a `SocketError`. */
export function fromBunError(
  error: unknown,
  syscall: string,
  address?: SocketAddress,
): SocketError {
  if (error instanceof SocketError) return error;
  const { errno, code, message } = (error ?? {}) as {
    errno?: number;
    code?: string;
    message?: string;
  };
  // Of "EMSGSIZE: message too long, send": the error has the code and the call already.
  const text = message?.replace(/^E\w+: |, \w+$/g, "");
  const detail = (syscall === "send" ? sendHint(code ?? "", address) : undefined) ?? text;
  return new SocketError({
    errno: Math.abs(errno ?? 0),
    code: code ?? "EIO",
    syscall,
    address,
    ...(detail === undefined ? {} : { detail }),
    cause: error,
  });
}
