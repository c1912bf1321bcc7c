/** This library's batches, which take datagrams from where the kernel put them. */

import { RecvBatch, SendBatch, UdpSocket } from "../../../lib/index.ts";
import { BATCH, datagrams, PREFIX } from "../datagrams.ts";
import { callsOf } from "./calls.ts";
import { runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";

await runPeer({
  async sink({ receiveBufferBytes, received }) {
    const socket = await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes });
    const batch = new RecvBatch();
    void (async () => {
      for (;;) {
        const count = await socket.recvBatch(batch);
        for (let i = 0; received.isChecking && i < count; i++) received.check(batch.payload(i));
        received.count(count);
      }
    })();
    return { port: socket.localAddr.port, calls: callsOf(socket) };
  },

  async relay({ receiveBufferBytes, received }, to) {
    const ingress = await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes });
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
        received.count(count);
      }
    })();
    return { port: ingress.localAddr.port, calls: callsOf(ingress, out) };
  },

  async sender([port = 0]) {
    const socket = await UdpSocket.connect({ hostname: HOSTNAME, port });
    const line = new SendBatch({ datagrams: BATCH });
    const send = async () => {
      for (let i = 0; i < BATCH; i++) line.push(datagrams[i] as Uint8Array<ArrayBuffer>);
      await socket.sendBatch(line);
    };
    return { send, calls: callsOf(socket) };
  },
});
