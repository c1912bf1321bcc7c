/** A Worker that sends datagrams to the posted address as fast as it can. */

import { SocketAddress, UdpSocket } from "../../lib/index.ts";

declare const self: Worker;

self.onmessage = async ({ data }: MessageEvent<string>) => {
  const to = SocketAddress.parse(data);
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const payloads = Array.from({ length: 64 }, () => new Uint8Array(200));
  self.postMessage("flooding");
  for (;;) {
    for (let i = 0; i < 16; i++) socket.trySendMany(payloads, { to });
    await new Promise((resolve) => setImmediate(resolve));
  }
};
