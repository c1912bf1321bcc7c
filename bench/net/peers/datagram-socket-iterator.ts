/** This library's `batches()` and `sendMany`. */

import { type SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { runPeer } from "./run-peer.ts";

await runPeer({
  async echo({ receiveBufferBytes }) {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1", receiveBufferBytes });
    void echo(socket);
    return { port: socket.localAddr.port };
  },
});

async function echo(socket: UdpSocket): Promise<void> {
  const to: (SocketAddress | undefined)[] = [];
  for await (const { length, buffers, meta } of socket.batches()) {
    for (let i = 0; i < length; i++) to[i] = meta[i]?.peer;
    await socket.sendMany(buffers, { to: to as SocketAddress[], count: length });
  }
}
