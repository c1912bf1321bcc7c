/** This library's `recvMany` and `sendMany`, with its defaults unless the environment says otherwise. */

import {
  type DatagramSocket,
  DgramBuffer,
  RecvMeta,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} from "../../../lib/index.ts";
import { BATCH, datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import { callsOf } from "./calls.ts";
import { type Ingress, type Opened, type Received, runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";
/** The portable backend has no option for the receive buffer: a queue of its own follows. */
const isPortable = process.env.DATAGRAM_SOCKET_BACKEND === "portable";

await runPeer({
  async sink({ receiveBufferBytes, received }) {
    const socket = await listen(receiveBufferBytes);
    void receive(socket, received);
    return { port: socket.localAddr.port, calls: callsOf(socket) };
  },

  async echo({ receiveBufferBytes }) {
    const socket = await listen(receiveBufferBytes);
    void answer(socket);
    return { port: socket.localAddr.port };
  },

  relay,

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await UdpSocket.connect({ hostname: HOSTNAME, port });
      return { send: async () => void (await socket.sendMany(datagrams)), calls: callsOf(socket) };
    }
    const socket = await UdpSocket.bind({ hostname: HOSTNAME });
    const to = datagrams.map((_, i) => SocketAddress.ip(HOSTNAME, ports[i % ports.length] ?? 0));
    return {
      send: async () => void (await socket.sendMany(datagrams, { to })),
      calls: callsOf(socket),
    };
  },

  async unixSink(path, received) {
    const socket = await UnixDatagram.bind(path);
    void receive(socket, received);
    return { port: 0, calls: callsOf(socket) };
  },

  async unixSender(connect) {
    const socket = await UnixDatagram.unbound({ connect });
    return { send: async () => void (await socket.sendMany(datagrams)), calls: callsOf(socket) };
  },
});

function listen(receiveBufferBytes: number | undefined): Promise<UdpSocket> {
  return UdpSocket.bind({ hostname: HOSTNAME, ...(!isPortable && { receiveBufferBytes }) });
}

function newBuffers(): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: BATCH }, () => new Uint8Array(SLOT_BYTES));
}

async function receive(socket: DatagramSocket, received: Received): Promise<void> {
  const buffers = newBuffers();
  const meta = buffers.map(() => new RecvMeta());
  for (;;) {
    const count = await socket.recvMany(buffers, received.isChecking ? { meta } : undefined);
    for (let i = 0; received.isChecking && i < count; i++) {
      received.check((buffers[i] as Uint8Array).subarray(0, meta[i]?.length));
    }
    received.count(count);
  }
}

async function answer(socket: UdpSocket): Promise<void> {
  const buffers = newBuffers();
  const meta = buffers.map(() => new RecvMeta());
  const payloads: Uint8Array[] = [];
  const to: SocketAddress[] = [];
  for (;;) {
    const count = await socket.recvMany(buffers, { meta });
    for (let i = 0; i < count; i++) {
      const { length, peer } = meta[i] as RecvMeta;
      payloads[i] = (buffers[i] as Uint8Array).subarray(0, length);
      if (peer) to[i] = peer;
    }
    await socket.sendMany(payloads, { to, count });
  }
}

/** Receives behind headroom, and puts the prefix there. */
async function relay({ receiveBufferBytes, received }: Ingress, to: number): Promise<Opened> {
  const ingress = await listen(receiveBufferBytes);
  const out = await UdpSocket.connect({ hostname: HOSTNAME, port: to });
  const line = Array.from({ length: BATCH }, () =>
    DgramBuffer.withCapacityAndHeadroom(SLOT_BYTES, PREFIX.length),
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
      received.count(count);
    }
  })();
  return { port: ingress.localAddr.port, calls: callsOf(ingress, out) };
}
