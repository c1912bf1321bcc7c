/** Sends and receives datagrams of 100 bytes on plain descriptors, for the tests of readiness. */

import { expect } from "bun:test";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { SocketAddress } from "../../lib/index.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { loadedNative } from "./tools.ts";

const native = loadedNative();
const LOOPBACK = SocketAddress.ip("127.0.0.1", 0);

const sending = native.sendVector(0);
const received = native.receiveVector(0);
const datagram = new Uint8Array(100);
sending.reserve(1);
received.reserve(1);

/** Sends a datagram. Returns 1 or -errno. */
export function trySend(fd: number): number {
  sending.setBuffer(0, datagram, 0, datagram.length);
  return sending.send(fd, 0, 1);
}

/** Sends a datagram, which must succeed. */
export function sendOne(fd: number): void {
  expect(trySend(fd)).toBe(1);
}

/** Receives all queued datagrams. */
export function drain(fd: number): void {
  received.setBuffer(0, datagram, 0, datagram.length);
  while (received.receive(fd, 0, 1) === 1);
}

/** Opens a UDP socket on loopback. Returns its descriptor and its port. */
export function boundUdp(): [fd: number, port: number] {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  expect(native.bind(fd, LOOPBACK._encoded)).toBe(0);
  return [fd, SocketAddress._decode(native.scratch, 0, native.name(fd)).port];
}

/** Binds a UDP socket to `port`, and closes it. Returns 0 or -errno. */
export function bindUdp(port: number): number {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  const result = native.bind(fd, SocketAddress.ip("127.0.0.1", port)._encoded);
  native.close(fd);
  return result;
}
