/** `Bun.udpSocket`, used as its documentation shows. */

import { runPeer } from "./peer.ts";

await runPeer({
  async sink(received) {
    const socket = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: { data: () => received(1, 1) },
    });
    return socket.port;
  },
  async echo() {
    const socket = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: { data: (self, data, port, address) => void self.send(data, port, address) },
    });
    return socket.port;
  },
});
