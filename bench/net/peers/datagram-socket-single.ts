/** This library's `recvFrom` and `sendTo`: one datagram at a time. */

import { UdpSocket } from "../../../lib/index.ts";
import { SLOT_BYTES } from "../datagrams.ts";
import { runPeer } from "./run-peer.ts";

await runPeer({
  async echo({ receiveBufferBytes }) {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1", receiveBufferBytes });
    void echo(socket);
    return { port: socket.localAddr.port };
  },
});

async function echo(socket: UdpSocket): Promise<void> {
  const buffer = new Uint8Array(SLOT_BYTES);
  for (;;) {
    const { length, peer } = await socket.recvFrom(buffer);
    if (peer) await socket.sendTo(buffer.subarray(0, length), peer);
  }
}
