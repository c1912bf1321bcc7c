/** A Worker that posts the address of its socket, and sends every datagram back to its sender. */

import { RecvMeta, type SocketAddress, UdpSocket } from "../../lib/index.ts";

declare const self: Worker;

self.onmessage = async ({ data: backend }: MessageEvent<"native" | "portable">) => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  self.postMessage(socket.localAddr.toString());
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(1500));
  const meta = bufs.map(() => new RecvMeta());
  for (;;) {
    const count = await socket.recvMany(bufs, { meta });
    const replies = meta.slice(0, count).map(({ length }, i) => bufs[i]?.subarray(0, length));
    const to = meta.slice(0, count).map(({ peer }) => peer as SocketAddress);
    await socket.sendMany(replies as Uint8Array[], { to });
  }
};
