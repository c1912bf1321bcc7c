/**
 * A socket that is closed by a getter of an argument while a call reads its arguments, and whose
 * descriptor number is reused at once: the call must not operate on the new descriptor.
 */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, type Membership, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { datagramsOf, NO_OFFLOAD_REASON, openEnds, receiveAll, times } from "../tools/offload.ts";
import { targets, thrown } from "../tools/sockets.ts";

const native = loadedNative();
const LOOPBACK = { hostname: "127.0.0.1", backend: "native", offload: false } as const;

/**
 * Opens two sockets. `replace` closes `socket` and duplicates the descriptor of `other`: the
 * duplicate gets the number that became free.
 */
async function openReplaceable() {
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

/** Returns `array` with a getter for its last element, which calls `run`. */
function withGetter<T>(array: T[], run: () => void): T[] {
  const last = array.length - 1;
  const value = array[last] as T;
  const get = () => {
    run();
    return value;
  };
  return Object.defineProperty(array, last, { get });
}

const BAD_DESCRIPTOR = { name: "SocketError", code: "EBADF" };
const CLOSED = { name: "SocketError", code: "ERR_SOCKET_CLOSED" };

describe("a socket that a getter of an argument closes", () => {
  test("addMembership fails with EBADF, and does not join on the new descriptor", async () => {
    using sockets = await openReplaceable();
    const membership: Membership = {
      get group() {
        sockets.replace();
        return "239.255.77.3";
      },
      interface: "127.0.0.1",
    };
    expect(thrown(() => sockets.socket.addMembership(membership))).toMatchObject(BAD_DESCRIPTOR);
    const same = { group: "239.255.77.3", interface: "127.0.0.1" };
    expect(thrown(() => sockets.other.dropMembership(same))).toMatchObject({
      code: "EADDRNOTAVAIL",
    });
  });

  test("trySendMany fails with ERR_SOCKET_CLOSED, and does not send on the new descriptor", async () => {
    using sockets = await openReplaceable();
    await using receiver = await UdpSocket.bind(LOOPBACK);
    const payloads = withGetter(targets(4), sockets.replace);
    const to = receiver.localAddr;
    expect(thrown(() => sockets.socket.trySendMany(payloads, { to }))).toMatchObject(CLOSED);
    await Bun.sleep(10);
    expect(receiver.tryRecv(new Uint8Array(4))).toBe(WouldBlock);
  });

  test("tryRecvMany fails with ERR_SOCKET_CLOSED, and does not receive from the new descriptor", async () => {
    using sockets = await openReplaceable();
    const { socket, other } = sockets;
    await other.sendTo(new Uint8Array(4), other.localAddr);
    const receive = () => socket.tryRecvMany(withGetter(targets(4), sockets.replace));
    expect(thrown(receive)).toMatchObject(CLOSED);
    expect(await other.recv(new Uint8Array(4))).toBe(4);
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "tryRecvMany with GRO returns the receive batch to the pool only once",
    async () => {
      using pair = await openEnds({ sender: true, receiver: true });
      const { sender, receiver } = pair;
      await sender.sendMany(datagramsOf(times(6, 100)), { to: receiver.localAddr });
      const receive = () =>
        receiver.tryRecvMany(withGetter(targets(4, 100), () => receiver.close()));
      expect(thrown(receive)).toMatchObject(CLOSED);
      // If the pool had the batch twice, the receivers of these two pairs would share its memory.
      using left = await openEnds({ sender: true, receiver: true });
      using right = await openEnds({ sender: true, receiver: true });
      const ends = [left, right];
      for (const [i, end] of ends.entries()) {
        const payloads = datagramsOf(times(4, 100), 10 * i);
        await end.sender.sendMany(payloads, { to: end.receiver.localAddr });
        // Takes the first datagram of the GRO message: the socket keeps the other three.
        await end.receiver.recv(new DgramBuffer());
      }
      for (const [i, end] of ends.entries()) {
        const remaining = datagramsOf(times(4, 100), 10 * i).slice(1);
        expect((await receiveAll(end.receiver, 3)).map(({ bytes }) => bytes)).toEqual(remaining);
      }
    },
  );
});
