/** This library's `recvMany` and `sendMany`, with its defaults unless the environment says otherwise. */

import { DatagramInfo, DgramBuffer, SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { BATCH, datagrams, PREFIX } from "../datagrams.ts";
import { type Ingress, runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";
const BYTES_MAX = 2048;

const buffers = Array.from({ length: BATCH }, () => new Uint8Array(BYTES_MAX));
const info = buffers.map(() => new DatagramInfo());

await runPeer({
  async sink({ recvBufferBytes, received }) {
    const socket = await UdpSocket.bind({ hostname: HOSTNAME, recvBufferBytes });
    void (async () => {
      for (;;) {
        const count = await socket.recvMany(buffers, received.isChecking ? { info } : undefined);
        for (let i = 0; received.isChecking && i < count; i++) {
          received.check((buffers[i] as Uint8Array).subarray(0, info[i]?.length));
        }
        received.count(count, 1);
      }
    })();
    return socket.localAddr.port;
  },

  async echo() {
    const socket = await UdpSocket.bind({ hostname: HOSTNAME });
    void (async () => {
      const payloads: Uint8Array[] = [];
      const to: SocketAddress[] = [];
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

  relay,

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await UdpSocket.connect({ hostname: HOSTNAME, port });
      return async () => void (await socket.sendMany(datagrams));
    }
    const socket = await UdpSocket.bind({ hostname: HOSTNAME });
    const to = datagrams.map((_, i) => SocketAddress.ip(HOSTNAME, ports[i % ports.length] ?? 0));
    return async () => void (await socket.sendMany(datagrams, { to }));
  },
});

/** Receives behind headroom, and puts the prefix there. */
async function relay({ recvBufferBytes, received }: Ingress, to: number): Promise<number> {
  const ingress = await UdpSocket.bind({ hostname: HOSTNAME, recvBufferBytes });
  const out = await UdpSocket.connect({ hostname: HOSTNAME, port: to });
  const line = Array.from({ length: BATCH }, () =>
    DgramBuffer.withCapacityAndHeadroom(BYTES_MAX, PREFIX.length),
  );
  void (async () => {
    for (;;) {
      const count = await ingress.recvMany(line);
      for (let i = 0; i < count; i++) {
        const buffer = line[i] as DgramBuffer;
        if (received.isChecking) received.check(buffer.asSlice());
        buffer.tryAddPrefix(PREFIX);
      }
      await out.sendMany(line, { count });
      for (let i = 0; i < count; i++) {
        const buffer = line[i] as DgramBuffer;
        buffer.advance(PREFIX.length);
        buffer.truncate(0);
      }
      received.count(count, 1);
    }
  })();
  return ingress.localAddr.port;
}
