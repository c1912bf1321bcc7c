/** This library's batches, which take datagrams from where the kernel put them. */

import { RecvBatch, SendBatch, UdpSocket } from "../../../lib/index.ts";
import { PREFIX } from "../datagrams.ts";
import { runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";

await runPeer({
  async sink({ recvBufferBytes, received }) {
    const socket = await UdpSocket.bind({ hostname: HOSTNAME, recvBufferBytes });
    const batch = new RecvBatch();
    void (async () => {
      for (;;) {
        const count = await socket.recvBatch(batch);
        for (let i = 0; received.isChecking && i < count; i++) received.check(batch.payload(i));
        received.count(count, 1);
      }
    })();
    return socket.localAddr.port;
  },

  async relay({ recvBufferBytes, received }, to) {
    const ingress = await UdpSocket.bind({ hostname: HOSTNAME, recvBufferBytes });
    const out = await UdpSocket.connect({ hostname: HOSTNAME, port: to });
    const batch = new RecvBatch();
    const line = new SendBatch({ datagrams: 1024, prefixBytes: PREFIX.length });
    void (async () => {
      for (;;) {
        const count = await ingress.recvBatch(batch);
        for (let i = 0; i < count; i++) {
          if (received.isChecking) received.check(batch.payload(i));
          if (line.isFull) await out.sendBatch(line);
          line.prefix(PREFIX).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
        }
        await out.sendBatch(line);
        received.count(count, 1);
      }
    })();
    return ingress.localAddr.port;
  },
});
