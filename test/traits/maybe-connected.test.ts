/** `MaybeConnectedSocket`: sends with destinations on connected and unconnected sockets. */

import { describe, expect, test } from "bun:test";
import {
  MaybeConnectedSocket,
  type Payload,
  type Poll,
  SendBatch,
  SocketAddress,
  type SocketError,
  UdpSocket,
  type Waker,
  WouldBlock,
} from "../../lib/index.ts";
import { nextTick } from "../tools/sockets.ts";
import { ConnectedScriptedSocket, Settled } from "./scripted-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const SAME = SocketAddress.parse("192.0.2.1:53");
const OTHER = SocketAddress.ip("192.0.2.2", 53);
const ONE = Uint8Array.of(1);

/**
 * A socket that sends to its peer and ignores the destination, as the connected sockets of the Rust
 * crate `datagram-socket` do. Records the destination of each datagram, `undefined` if it has none.
 */
class RecordingSocket extends ConnectedScriptedSocket {
  readonly destinations: (SocketAddress | readonly SocketAddress[] | undefined)[] = [];

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    const result = super.pollSend(waker, buf);
    if (result === 1) this.destinations.push(undefined);
    return result;
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    const result = super.pollSend(waker, buf);
    if (result === 1) this.destinations.push(address);
    return result;
  }
}

/** The calls that send a datagram to an address. */
const sendCalls: Record<
  string,
  (socket: MaybeConnectedSocket<RecordingSocket>, to: SocketAddress) => unknown
> = {
  sendTo: (socket, to) => socket.sendTo(ONE, to),
  trySendTo: (socket, to) => socket.trySendTo(ONE, to),
  pollSendTo: (socket, to) => socket.pollSendTo(null, ONE, to),
  sendMany: (socket, to) => socket.sendMany([ONE], { to }),
  trySendMany: (socket, to) => socket.trySendMany([ONE], { to }),
  pollSendMany: (socket, to) => socket.pollSendMany(null, [ONE], { to }),
  "sendMany with an array of destinations": (socket, to) =>
    socket.sendMany([ONE, ONE], { start: 1, to: [SAME, to] }),
  sendBatch: (socket, to) => socket.sendBatch(new SendBatch().push(ONE, to)),
  trySendBatch: (socket, to) => socket.trySendBatch(new SendBatch().push(ONE, to)),
  pollSendBatch: (socket, to) => socket.pollSendBatch(null, new SendBatch().push(ONE, to)),
};

describe.each(Object.keys(sendCalls))("MaybeConnectedSocket: %s", (name) => {
  const send = async (socket: MaybeConnectedSocket<RecordingSocket>, to: SocketAddress) =>
    sendCalls[name]?.(socket, to);

  test("sends to the connected peer without passing on its address", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    expect(await send(wrapper, SAME)).toBe(1);
    expect(wrapper.inner.destinations).toEqual([undefined]);
  });

  test("fails with EISCONN for any other destination, and sends nothing", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    const error = await send(wrapper, OTHER).catch((reason: unknown) => reason);
    expect((error as SocketError).code).toBe("EISCONN");
    expect(wrapper.inner.destinations).toEqual([]);
    // The error is not deferred to the next send.
    expect(await send(wrapper, PEER)).toBe(1);
  });

  test("passes the destination to an unconnected inner socket", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(undefined));
    expect(await send(wrapper, OTHER)).toBe(1);
    expect(wrapper.inner.destinations).toEqual([OTHER]);
  });

  test("fails with a TypeError if the destination is no SocketAddress", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    for (const to of [null, "192.0.2.1:53", {}] as unknown as SocketAddress[]) {
      await expect(send(wrapper, to)).rejects.toThrow(TypeError);
    }
    expect(wrapper.inner.destinations).toEqual([]);
  });
});

describe("MaybeConnectedSocket", () => {
  test("compares destinations with the peer that the socket had when it was wrapped", async () => {
    const socket = new RecordingSocket(PEER);
    const wrapper = new MaybeConnectedSocket(socket);
    socket.peer = OTHER;
    expect(wrapper.peerAddr).toBe(PEER);
    expect(await wrapper.sendTo(ONE, PEER)).toBe(1);
    await expect(wrapper.sendTo(ONE, OTHER)).rejects.toThrow("EISCONN");
    const unconnected = new MaybeConnectedSocket(new RecordingSocket(undefined));
    unconnected.inner.peer = PEER;
    expect(unconnected.peerAddr).toBeUndefined();
    expect(await unconnected.sendTo(ONE, OTHER)).toBe(1);
  });

  test("returns the wrapped socket from inner, intoInner and asDatagramSocketSend", () => {
    const socket = new RecordingSocket(PEER);
    const wrapper = new MaybeConnectedSocket(socket);
    expect([wrapper.inner, wrapper.intoInner(), wrapper.asDatagramSocketSend()]).toEqual([
      socket,
      socket,
      socket,
    ]);
  });

  test("forwards sends without a destination to the inner socket", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    expect([wrapper.trySend(ONE), await wrapper.send(ONE)]).toEqual([1, 1]);
    expect(await wrapper.sendMany([ONE, ONE])).toBe(2);
    expect([wrapper.trySendMany([]), await wrapper.sendMany([], { to: OTHER })]).toEqual([0, 0]);
    expect(wrapper.inner.destinations).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("puts its callers into the queue of the inner socket", async () => {
    const socket = new RecordingSocket(PEER);
    const wrapper = new MaybeConnectedSocket(socket);
    const settled = new Settled();
    socket.sendPlan.push("full");
    settled.watch("inner", socket.send(ONE));
    settled.watch("wrapper", wrapper.send(ONE));
    expect([wrapper.trySendTo(ONE, PEER), wrapper.trySendMany([ONE], { to: PEER })]).toEqual([
      WouldBlock,
      WouldBlock,
    ]);
    socket.makeRoom();
    await nextTick();
    expect(settled.order).toEqual(["inner 1", "wrapper 1"]);
  });

  test("sendMany with a wrong destination at any index sends nothing", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    const to = [PEER, SAME, OTHER];
    await expect(wrapper.sendMany([ONE, ONE, ONE], { to })).rejects.toThrow("EISCONN");
    expect(wrapper.inner.destinations).toEqual([]);
    // Destinations outside the range are not checked.
    expect(await wrapper.sendMany([ONE, ONE, ONE], { to, count: 2 })).toBe(2);
    await expect(wrapper.sendMany([ONE], { to, count: 2 })).rejects.toThrow(RangeError);
  });

  test("a SendBatch with a wrong destination is refused and not modified", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    const batch = new SendBatch().push(ONE).push(ONE, PEER).push(ONE, OTHER);
    await expect(wrapper.sendBatch(batch)).rejects.toThrow("EISCONN");
    expect(() => wrapper.trySendBatch(batch)).toThrow("EISCONN");
    expect(() => wrapper.pollSendBatch(null, batch)).toThrow("EISCONN");
    expect([batch.length, wrapper.inner.destinations]).toEqual([3, []]);
    const unconnected = new MaybeConnectedSocket(new RecordingSocket(undefined));
    expect(await unconnected.sendBatch(batch)).toBe(3);
    expect(unconnected.inner.destinations).toEqual([undefined, PEER, OTHER]);
  });

  test("continues a partially sent SendBatch, and checks later destinations", async () => {
    const wrapper = new MaybeConnectedSocket(new RecordingSocket(PEER));
    wrapper.inner.sendPlan.push("sent", "full");
    const batch = new SendBatch().push(ONE, PEER).push(ONE, SAME).push(ONE);
    expect(wrapper.trySendBatch(batch)).toBe(1);
    expect(wrapper.trySendBatch(batch)).toBe(WouldBlock);
    wrapper.inner.makeRoom();
    expect(() => wrapper.trySendBatch(batch.push(ONE, OTHER))).toThrow("EISCONN");
    expect(batch.length).toBe(3);
    expect(wrapper.inner.destinations).toEqual([undefined]);
  });

  test("reaches the same peer through a connected and an unconnected UDP socket", async () => {
    using receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
    using bound = await UdpSocket.bind({ hostname: "127.0.0.1" });
    using connected = await UdpSocket.connect({
      hostname: "127.0.0.1",
      port: receiver.localAddr.port,
    });
    for (const socket of [bound, connected]) {
      const wrapper = new MaybeConnectedSocket(socket);
      expect(await wrapper.sendTo(ONE, receiver.localAddr)).toBe(1);
      expect(await wrapper.sendMany([ONE], { to: receiver.localAddr })).toBe(1);
      const batch = new SendBatch().push(ONE, receiver.localAddr);
      expect(await wrapper.sendBatch(batch)).toBe(1);
      for (let i = 0; i < 3; i++) {
        const meta = await receiver.recvFrom(new Uint8Array(9));
        expect(meta.peer?.equals(socket.localAddr)).toBe(true);
      }
    }
    const wrapper = new MaybeConnectedSocket(connected);
    await expect(wrapper.sendTo(ONE, bound.localAddr)).rejects.toThrow("EISCONN");
  });
});
