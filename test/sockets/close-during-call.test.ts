/**
 * Sockets that are closed by code that a call on them runs, such as getters of what it was given,
 * while another descriptor gets the number: the call touches nothing of that one.
 */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, type Membership, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { datagramsOf, NO_OFFLOAD_REASON, openEnds, receiveAll, times } from "../tools/offload.ts";
import { targets, thrown } from "../tools/sockets.ts";

const native = loadedNative();
const LOOPBACK = { hostname: "127.0.0.1", backend: "native", offload: false } as const;

/** A socket, and another that gets its descriptor's number with `replace`, as a duplicate. */
async function openBoth() {
  const socket = await UdpSocket.bind(LOOPBACK);
  const other = await UdpSocket.bind(LOOPBACK);
  const number = socket.asRawIo() as number;
  let isReplaced = false;
  const replace = () => {
    if (isReplaced) return;
    isReplaced = true;
    socket.close();
    expect(native.duplicate(other.asRawIo() as number)).toBe(number);
  };
  const close = () => {
    if (isReplaced) native.close(number);
    other.close();
  };
  return { socket, other, replace, [Symbol.dispose]: close };
}

/** `array`, of which reading the last entry runs `run` first. */
function trapped<T>(array: T[], run: () => void): T[] {
  const last = array.length - 1;
  const value = array[last] as T;
  const get = () => {
    run();
    return value;
  };
  return Object.defineProperty(array, last, { get });
}

const FAILURE = { name: "SocketError", code: "EBADF" };

test("while a membership is read: no other descriptor joins", async () => {
  using both = await openBoth();
  const membership: Membership = {
    get group() {
      both.replace();
      return "239.255.77.3";
    },
    interfaceAddress: "127.0.0.1",
  };
  expect(thrown(() => both.socket.addMembership(membership))).toMatchObject(FAILURE);
  const same = { group: "239.255.77.3", interfaceAddress: "127.0.0.1" };
  expect(thrown(() => both.other.dropMembership(same))).toMatchObject({ code: "EADDRNOTAVAIL" });
});

test("while payloads are read: nothing is sent by another descriptor", async () => {
  using both = await openBoth();
  await using receiver = await UdpSocket.bind(LOOPBACK);
  const payloads = trapped(targets(4), both.replace);
  const to = receiver.localAddr;
  expect(thrown(() => both.socket.trySendMany(payloads, { to }))).toMatchObject(FAILURE);
  await Bun.sleep(10);
  expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
});

test("while targets are read: nothing of another descriptor is received", async () => {
  using both = await openBoth();
  const { socket, other } = both;
  await other.sendTo(new Uint8Array(4), other.localAddr);
  const failing = () => socket.tryRecvMany(trapped(targets(4), both.replace));
  expect(thrown(failing)).toMatchObject(FAILURE);
  expect(await other.recv(new Uint8Array(4))).toBe(4);
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("with offload", () => {
  test("while targets are read: what was coalesced is not two other sockets' memory", async () => {
    using pair = await openEnds({ sender: true, receiver: true });
    const { sender, receiver } = pair;
    await sender.sendMany(datagramsOf(times(6, 100)), { to: receiver.localAddr });
    receiver.tryRecvMany(trapped(targets(4, 100), () => receiver.close()));
    using left = await openEnds({ sender: true, receiver: true });
    using right = await openEnds({ sender: true, receiver: true });
    const ends = [left, right];
    for (const [i, end] of ends.entries()) {
      const payloads = datagramsOf(times(4, 100), 10 * i);
      await end.sender.sendMany(payloads, { to: end.receiver.localAddr });
      // Takes one of four, and keeps the others.
      await end.receiver.recv(new DgramBuffer());
    }
    for (const [i, end] of ends.entries()) {
      const rest = datagramsOf(times(4, 100), 10 * i).slice(1);
      expect((await receiveAll(end.receiver, 3)).map(({ bytes }) => bytes)).toEqual(rest);
    }
  });
});
