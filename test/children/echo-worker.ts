/** A Worker that answers every datagram with its own bytes, and tells its address. */

import { RecvMeta, type SocketAddress, UdpSocket } from "../../lib/index.ts";

declare const self: Worker;

self.onmessage = async ({ data: backend }: MessageEvent<"native" | "portable">) => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  self.postMessage(socket.localAddr.toString());
  const bufs = Array.from({ length: 64 }, () => new Uint8Array(1500));
  const meta = bufs.map(() => new RecvMeta());
  for (;;) {
    const count = await socket.recvMany(bufs, { meta });
    const answers = meta.slice(0, count).map(({ length }, i) => bufs[i]?.subarray(0, length));
    const to = meta.slice(0, count).map(({ peer }) => peer as SocketAddress);
    await socket.sendMany(answers as Uint8Array[], { to });
  }
};
