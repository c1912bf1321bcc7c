/** `MaybeConnectedSocket`: one way to send, whether the socket has a peer or not. */

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
import { nextTurn } from "../tools/sockets.ts";
import { ConnectedBaseSocket, Settled } from "./base-socket.ts";

const PEER = SocketAddress.ip("192.0.2.1", 53);
const SAME = SocketAddress.parse("192.0.2.1:53");
const OTHER = SocketAddress.ip("192.0.2.2", 53);
const ONE = Uint8Array.of(1);

/**
 * A socket that sends to its peer whatever it is told, as the crate's connected ones do. It notes
 * where it was told to send to.
 */
class Careless extends ConnectedBaseSocket {
  readonly told: (SocketAddress | readonly SocketAddress[] | undefined)[] = [];

  override pollSend(waker: Waker | null, buf: Payload): Poll<number> {
    const result = super.pollSend(waker, buf);
    if (result === 1) this.told.push(undefined);
    return result;
  }

  override pollSendTo(waker: Waker | null, buf: Payload, address: SocketAddress): Poll<number> {
    const result = super.pollSend(waker, buf);
    if (result === 1) this.told.push(address);
    return result;
  }
}

/** Every way to send one datagram to an address. */
const ways: Record<string, (socket: MaybeConnectedSocket<Careless>, to: SocketAddress) => unknown> =
  {
    sendTo: (socket, to) => socket.sendTo(ONE, to),
    trySendTo: (socket, to) => socket.trySendTo(ONE, to),
    pollSendTo: (socket, to) => socket.pollSendTo(null, ONE, to),
    sendMany: (socket, to) => socket.sendMany([ONE], { to }),
    trySendMany: (socket, to) => socket.trySendMany([ONE], { to }),
    pollSendMany: (socket, to) => socket.pollSendMany(null, [ONE], { to }),
    "sendMany with one each": (socket, to) =>
      socket.sendMany([ONE, ONE], { start: 1, to: [SAME, to] }),
    sendBatch: (socket, to) => socket.sendBatch(new SendBatch().push(ONE, to)),
    trySendBatch: (socket, to) => socket.trySendBatch(new SendBatch().push(ONE, to)),
    pollSendBatch: (socket, to) => socket.pollSendBatch(null, new SendBatch().push(ONE, to)),
  };

describe.each(Object.keys(ways))("%s", (name) => {
  const send = async (socket: MaybeConnectedSocket<Careless>, to: SocketAddress) =>
    ways[name]?.(socket, to);

  test("to the peer of a connected socket is a plain send", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    expect(await send(wrapper, SAME)).toBe(1);
    expect(wrapper.inner.told).toEqual([undefined]);
  });

  test("to another than the peer is EISCONN, and nothing is sent", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    const error = await send(wrapper, OTHER).catch((reason: unknown) => reason);
    expect((error as SocketError).code).toBe("EISCONN");
    expect(wrapper.inner.told).toEqual([]);
    // The error was the caller's alone.
    expect(await send(wrapper, PEER)).toBe(1);
  });

  test("on a socket that is not connected goes where it is told", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(undefined));
    expect(await send(wrapper, OTHER)).toBe(1);
    expect(wrapper.inner.told).toEqual([OTHER]);
  });

  test("to what is no SocketAddress is a TypeError on a connected socket", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    for (const to of [null, "192.0.2.1:53", {}] as unknown as SocketAddress[]) {
      await expect(send(wrapper, to)).rejects.toThrow(TypeError);
    }
    expect(wrapper.inner.told).toEqual([]);
  });
});

describe("MaybeConnectedSocket", () => {
  test("compares with the peer there was when it was made", async () => {
    const socket = new Careless(PEER);
    const wrapper = new MaybeConnectedSocket(socket);
    socket.peer = OTHER;
    expect(wrapper.peerAddr).toBe(PEER);
    expect(await wrapper.sendTo(ONE, PEER)).toBe(1);
    await expect(wrapper.sendTo(ONE, OTHER)).rejects.toThrow("EISCONN");
    const unconnected = new MaybeConnectedSocket(new Careless(undefined));
    unconnected.inner.peer = PEER;
    expect(unconnected.peerAddr).toBeUndefined();
    expect(await unconnected.sendTo(ONE, OTHER)).toBe(1);
  });

  test("gives the socket that it wraps", () => {
    const socket = new Careless(PEER);
    const wrapper = new MaybeConnectedSocket(socket);
    expect([wrapper.inner, wrapper.intoInner(), wrapper.asDatagramSocketSend()]).toEqual([
      socket,
      socket,
      socket,
    ]);
  });

  test("sends without a destination as the inner socket does", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    expect([wrapper.trySend(ONE), await wrapper.send(ONE)]).toEqual([1, 1]);
    expect(await wrapper.sendMany([ONE, ONE])).toBe(2);
    expect([wrapper.trySendMany([]), await wrapper.sendMany([], { to: OTHER })]).toEqual([0, 0]);
    expect(wrapper.inner.told).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("stands in the inner socket's line", async () => {
    const socket = new Careless(PEER);
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
    await nextTurn();
    expect(settled.order).toEqual(["inner 1", "wrapper 1"]);
  });

  test("refuses a batch with a wrong destination anywhere in it before anything goes", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    const to = [PEER, SAME, OTHER];
    await expect(wrapper.sendMany([ONE, ONE, ONE], { to })).rejects.toThrow("EISCONN");
    expect(wrapper.inner.told).toEqual([]);
    // Destinations that are not used do not matter.
    expect(await wrapper.sendMany([ONE, ONE, ONE], { to, count: 2 })).toBe(2);
    await expect(wrapper.sendMany([ONE], { to, count: 2 })).rejects.toThrow(RangeError);
  });

  test("refuses a SendBatch with a wrong destination anywhere in it, and leaves it as it was", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    const batch = new SendBatch().push(ONE).push(ONE, PEER).push(ONE, OTHER);
    await expect(wrapper.sendBatch(batch)).rejects.toThrow("EISCONN");
    expect(() => wrapper.trySendBatch(batch)).toThrow("EISCONN");
    expect(() => wrapper.pollSendBatch(null, batch)).toThrow("EISCONN");
    expect([batch.length, wrapper.inner.told]).toEqual([3, []]);
    const unconnected = new MaybeConnectedSocket(new Careless(undefined));
    expect(await unconnected.sendBatch(batch)).toBe(3);
    expect(unconnected.inner.told).toEqual([undefined, PEER, OTHER]);
  });

  test("sends the rest of a batch to the peer too", async () => {
    const wrapper = new MaybeConnectedSocket(new Careless(PEER));
    wrapper.inner.sendPlan.push("sent", "full");
    const batch = new SendBatch().push(ONE, PEER).push(ONE, SAME).push(ONE);
    expect(wrapper.trySendBatch(batch)).toBe(1);
    expect(wrapper.trySendBatch(batch)).toBe(WouldBlock);
    wrapper.inner.makeRoom();
    // What is pushed later is looked at as well.
    expect(() => wrapper.trySendBatch(batch.push(ONE, OTHER))).toThrow("EISCONN");
    expect(batch.length).toBe(3);
    expect(wrapper.inner.told).toEqual([undefined]);
  });

  test("on a UDP socket, connected or bound, reaches the same peer by sendTo", async () => {
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
