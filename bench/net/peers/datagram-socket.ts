/** This library's `recvMany` and `sendMany`, with defaults unless environment variables differ. */

import {
  type DatagramSocket,
  DgramBuffer,
  RecvMeta,
  SocketAddress,
  UdpSocket,
  UnixDatagram,
} from "../../../lib/index.ts";
import { BATCH, batchTo, datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import type { Listener, ListenOptions, Recorder } from "./peer.ts";
import { runPeer } from "./run-peer.ts";
import { systemCallsOf } from "./system-calls.ts";

const HOSTNAME = "127.0.0.1";
/** The portable backend has no option for the receive buffer size. It has a queue of its own. */
const isPortable = process.env.DATAGRAM_SOCKET_BACKEND === "portable";

await runPeer({
  async sink({ receiveBufferBytes, recorder }) {
    const socket = await listen(receiveBufferBytes);
    void receive(socket, recorder);
    return { port: socket.localAddr.port, systemCalls: systemCallsOf(socket) };
  },

  async echo({ receiveBufferBytes }) {
    const socket = await listen(receiveBufferBytes);
    void echo(socket);
    return { port: socket.localAddr.port };
  },

  relay,

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await UdpSocket.connect({ hostname: HOSTNAME, port });
      return {
        send: async () => void (await socket.sendMany(datagrams)),
        systemCalls: systemCallsOf(socket),
      };
    }
    const socket = await UdpSocket.bind({ hostname: HOSTNAME });
    const batch = batchTo(ports);
    const payloads = batch.map(({ data }) => data);
    const to = batch.map(({ port }) => SocketAddress.ip(HOSTNAME, port));
    return {
      send: async () => void (await socket.sendMany(payloads, { to })),
      systemCalls: systemCallsOf(socket),
    };
  },

  async unixSink(path, recorder) {
    const socket = await UnixDatagram.bind(path);
    void receive(socket, recorder);
    return { port: 0, systemCalls: systemCallsOf(socket) };
  },

  async unixSender(connect) {
    const socket = await UnixDatagram.unbound({ connect });
    return {
      send: async () => void (await socket.sendMany(datagrams)),
      systemCalls: systemCallsOf(socket),
    };
  },
});

function listen(receiveBufferBytes: number | undefined): Promise<UdpSocket> {
  return UdpSocket.bind({ hostname: HOSTNAME, ...(!isPortable && { receiveBufferBytes }) });
}

function newBuffers(): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: BATCH }, () => new Uint8Array(SLOT_BYTES));
}

async function receive(socket: DatagramSocket, recorder: Recorder): Promise<void> {
  const buffers = newBuffers();
  const meta = buffers.map(() => new RecvMeta());
  for (;;) {
    const count = await socket.recvMany(buffers, recorder.isChecking ? { meta } : undefined);
    for (let i = 0; recorder.isChecking && i < count; i++) {
      recorder.check((buffers[i] as Uint8Array).subarray(0, meta[i]?.length));
    }
    recorder.count(count);
  }
}

async function echo(socket: UdpSocket): Promise<void> {
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

/** Receives into buffers with headroom, and writes the prefix there. */
async function relay(
  { receiveBufferBytes, recorder }: ListenOptions,
  to: number,
): Promise<Listener> {
  const ingress = await listen(receiveBufferBytes);
  const egress = await UdpSocket.connect({ hostname: HOSTNAME, port: to });
  const buffers = Array.from({ length: BATCH }, () =>
    DgramBuffer.withCapacityAndHeadroom(SLOT_BYTES, PREFIX.length),
  );
  void (async () => {
    for (;;) {
      const count = await ingress.recvMany(buffers);
      for (let i = 0; i < count; i++) {
        const buffer = buffers[i] as DgramBuffer;
        if (recorder.isChecking) recorder.check(buffer.asSlice());
        buffer.tryAddPrefix(PREFIX);
      }
      await egress.sendMany(buffers, { count });
      for (let i = 0; i < count; i++) {
        const buffer = buffers[i] as DgramBuffer;
        buffer.advance(PREFIX.length);
        buffer.truncate(0);
      }
      recorder.count(count);
    }
  })();
  return { port: ingress.localAddr.port, systemCalls: systemCallsOf(ingress, egress) };
}
