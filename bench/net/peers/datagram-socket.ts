/** This library, with its defaults unless the environment says otherwise. */

import { DatagramInfo, UdpSocket } from "../../../lib/index.ts";
import { runPeer } from "./peer.ts";

const BATCH = 64;
const BYTES_MAX = 2048;

const buffers = Array.from({ length: BATCH }, () => new Uint8Array(BYTES_MAX));
const info = buffers.map(() => new DatagramInfo());

await runPeer({
  async sink(received) {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    void (async () => {
      for (;;) received(await socket.recvMany(buffers), 1);
    })();
    return socket.localAddr.port;
  },
  async echo() {
    const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    void (async () => {
      const payloads: Uint8Array[] = [];
      const to: NonNullable<DatagramInfo["peer"]>[] = [];
      for (;;) {
        const count = await socket.recvMany(buffers, { info });
        for (let i = 0; i < count; i++) {
          const { length, peer } = info[i] as DatagramInfo;
          payloads[i] = (buffers[i] as Uint8Array).subarray(0, length);
          if (peer) to[i] = peer;
        }
        await socket.sendMany(payloads, { to, count });
      }
    })();
    return socket.localAddr.port;
  },
});
