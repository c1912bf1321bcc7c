/** A Worker that binds the abstract name it gets, receives descriptors, and keeps them. */

import { type ReceivedFds, SocketAddress, UnixDatagram } from "../../lib/index.ts";

declare const self: Worker;

const kept: ReceivedFds[] = [];

self.onmessage = async ({ data }) => {
  const socket = await UnixDatagram.bind(SocketAddress.abstract(data));
  self.postMessage("ready");
  const received = await socket.recvFds(new Uint8Array(16));
  kept.push(received);
  self.postMessage(received.fds.length);
};
