/**
 * Keeps ICMP errors away from the socket of an endpoint of `node:quic`.
 *
 * Bun enables IP_RECVERR on it. An ICMP error about a client that has vanished then makes the next
 * send fail, whatever its destination (ip(7)), and `node:quic` discards the packets of that call.
 * Without the option the kernel ignores such errors on a socket that is not connected.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { SocketError, UdpSocket } from "../../lib/index.ts";
import type { QuicEndpoint } from "./node-quic.ts";

/** The option that reports ICMP errors, of each family: ip(7), ipv6(7). */
const RECEIVE_ERRORS = [
  { level: 0, name: 11 },
  { level: 41, name: 25 },
] as const;

/** Disables the option. Does nothing without the native backend, or if /proc is not accessible. */
export async function ignoreIcmpErrors(endpoint: QuicEndpoint): Promise<void> {
  const port = endpoint.address?.port;
  const fd = port === undefined ? undefined : findUdpDescriptor(port);
  if (fd === undefined) return;
  try {
    // Adopted only to set the option: the socket is neither read nor closed.
    const socket = await UdpSocket.fromFd(fd, { offload: false });
    for (const { level, name } of RECEIVE_ERRORS) trySetOption(socket, level, name);
    socket.intoFd();
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
  }
}

/** The option of the other family is unknown to the socket. */
function trySetOption(socket: UdpSocket, level: number, name: number): void {
  try {
    socket.setOption(level, name, 0);
  } catch (error) {
    if (!(error instanceof SocketError)) throw error;
  }
}

/** Returns the descriptor of this process that is bound to a UDP port. */
function findUdpDescriptor(port: number): number | undefined {
  try {
    const inodes = new Set(["udp", "udp6"].flatMap((name) => inodesOf(name, port)));
    return readdirSync("/proc/self/fd")
      .map(Number)
      .find((fd) => inodes.has(targetOf(fd)));
  } catch {
    return undefined;
  }
}

/** Returns the sockets of this network namespace that are bound to a port (proc(5)). */
function inodesOf(name: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync(`/proc/self/net/${name}`, "latin1").split("\n").slice(1);
  const fields = rows.map((row) => row.trim().split(/\s+/));
  return fields
    .filter(([, local]) => local?.endsWith(suffix))
    .map((columns) => `socket:[${columns[9]}]`);
}

function targetOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ""; // The descriptor of the directory, which is closed by now.
  }
}
