/** This library's `recvBatch` and `sendBatch`, which do not copy payloads. */

import { RecvBatch, SendBatch, SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { BATCH, batchTo, datagrams, PREFIX } from "../datagrams.ts";
import type { Sender } from "./peer.ts";
import { runPeer } from "./run-peer.ts";
import { systemCallsOf } from "./system-calls.ts";

const HOSTNAME = "127.0.0.1";

/** Fills the batch with a destination per datagram. A port has one `SocketAddress`, as when replying. */
async function senderToMany(ports: readonly number[]): Promise<Sender> {
  const socket = await UdpSocket.bind({ hostname: HOSTNAME });
  const addresses = new Map(ports.map((port) => [port, SocketAddress.ip(HOSTNAME, port)]));
  const datagramsTo = batchTo(ports).map(({ data, port }) => ({ data, to: addresses.get(port) }));
  const batch = new SendBatch({ datagrams: BATCH });
  const send = async () => {
    for (const { data, to } of datagramsTo) batch.push(data, to);
    await socket.sendBatch(batch);
  };
  return { send, systemCalls: systemCallsOf(socket) };
}

await runPeer({
  async sink({ receiveBufferBytes, recorder }) {
    const socket = await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes });
    const batch = new RecvBatch();
    void (async () => {
      for (;;) {
        const count = await socket.recvBatch(batch);
        for (let i = 0; recorder.isChecking && i < count; i++) recorder.check(batch.payload(i));
        recorder.count(count);
      }
    })();
    return { port: socket.localAddr.port, systemCalls: systemCallsOf(socket) };
  },

  async relay({ receiveBufferBytes, recorder }, to) {
    const ingress = await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes });
    const egress = await UdpSocket.connect({ hostname: HOSTNAME, port: to });
    const received = new RecvBatch();
    const out = new SendBatch({ datagrams: 1024, prefixBytes: PREFIX.length });
    void (async () => {
      for (;;) {
        const count = await ingress.recvBatch(received);
        for (let i = 0; i < count; i++) {
          if (recorder.isChecking) recorder.check(received.payload(i));
          if (out.isFull) await egress.sendBatch(out);
          out.prefix(PREFIX).pushSlice(received.bytes, received.offsetAt(i), received.lengthAt(i));
        }
        await egress.sendBatch(out);
        recorder.count(count);
      }
    })();
    return { port: ingress.localAddr.port, systemCalls: systemCallsOf(ingress, egress) };
  },

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length > 1) return senderToMany(ports);
    const socket = await UdpSocket.connect({ hostname: HOSTNAME, port });
    const batch = new SendBatch({ datagrams: BATCH });
    const send = async () => {
      for (let i = 0; i < BATCH; i++) batch.push(datagrams[i] as Uint8Array<ArrayBuffer>);
      await socket.sendBatch(batch);
    };
    return { send, systemCalls: systemCallsOf(socket) };
  },
});
