/**
 * Descriptors that a peer passes with a datagram (unix(7), SCM_RIGHTS). The kernel opens as many in
 * the receiving process as fit in the control buffer, so a peer could exhaust its descriptors. All
 * receives except `recvFds` therefore have no control buffer: the kernel opens none.
 */

import { expect, test } from "bun:test";
import { RecvBatch, UnixDatagram } from "../../lib/index.ts";
import { SOCK_DGRAM, SOL_SOCKET } from "../../lib/linux/constants.ts";
import { openDescriptors } from "../tools/sockets.ts";
import { loadedNative, openPair } from "./tools.ts";

const SCM_RIGHTS = 1;
const CONTROL_CAPACITY = 24;

const native = loadedNative();

/** Sends a datagram of 4 bytes from `fd` that passes the descriptor `passed`. */
function passDescriptor(fd: number, passed: number): void {
  const vector = native.sendVector(0, CONTROL_CAPACITY);
  vector.reserve(1);
  vector.setBuffer(0, new Uint8Array(4), 0, 4);
  vector.words.set([20, 0, SOL_SOCKET, SCM_RIGHTS, passed], vector.controlIndex(0));
  vector.setMessage(0, { slot: 0, slots: 1, datagrams: 1, controlBytes: CONTROL_CAPACITY });
  expect(vector.send(fd, 0, 1)).toBe(1);
}

const buffer = new Uint8Array(16);
const batch = new RecvBatch();
const RECEIVES: [string, (socket: UnixDatagram) => Promise<number>][] = [
  ["recvMany", async (socket) => (await socket.recvMany([buffer])) * 4],
  ["recv", (socket) => socket.recv(buffer)],
  ["recvFrom", async (socket) => (await socket.recvFrom(buffer)).length],
  ["recvBatch", async (socket) => (await socket.recvBatch(batch)) && batch.lengthAt(0)],
];

test.each(RECEIVES)("%s opens no descriptors of a peer, and counts them", async (_, receive) => {
  using pair = openPair(native, SOCK_DGRAM);
  await using socket = await UnixDatagram.fromFd(native.duplicate(pair.left));
  // The first receive may open descriptors that all sockets of the thread share.
  passDescriptor(pair.right, 2);
  expect(await receive(socket)).toBe(4);
  const before = openDescriptors();
  for (let i = 0; i < 8; i++) {
    passDescriptor(pair.right, 2);
    expect(await receive(socket)).toBe(4);
  }
  expect(openDescriptors()).toBe(before);
  expect(socket.counters.controlTruncated).toBe(9);
});
