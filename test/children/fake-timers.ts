/**
 * Opens the first sockets of a process, and sends to a full peer, under the fake timers of the test
 * runner. Run by `bun test`.
 */

import { expect, jest, test } from "bun:test";
import { SocketAddress, UdpSocket, UnixDatagram, WouldBlock } from "../../lib/index.ts";
import { loadNativeThread } from "../../lib/readiness/thread-reactor.ts";

jest.useFakeTimers();

test("the first socket opens, also if a mode of readiness does not work", async () => {
  const loaded = await loadNativeThread();
  const mode = "reactor" in loaded ? loaded.reactor.mode : loaded.reason;
  expect(mode).toBe(process.env.EXPECTED_MODE as string);
});

test("a datagram arrives", async () => {
  using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const received = socket.recv(new Uint8Array(9));
  await socket.sendTo(new Uint8Array(4), socket.localAddr);
  expect(await received).toBe(4);
});

test("a send to a full peer, which is retried by a timer, completes", async () => {
  const address = SocketAddress.abstract(`fake-timers-${process.pid}`);
  using peer = await UnixDatagram.bind(address);
  using sender = await UnixDatagram.unbound();
  while (sender.trySendTo(new Uint8Array(1), address) !== WouldBlock);
  const sent = sender.sendTo(new Uint8Array(7), address);
  while (peer.tryRecv(new Uint8Array(9)) !== WouldBlock);
  expect(await sent).toBe(7);
  expect(await peer.recv(new Uint8Array(9))).toBe(7);
});
