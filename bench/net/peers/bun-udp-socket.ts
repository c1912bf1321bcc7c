/** `Bun.udpSocket`, used as documented and as fast as it can be. */

import { BATCH, batchTo, datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import type { Listener, ListenOptions } from "./peer.ts";
import { runPeer } from "./run-peer.ts";

const HOSTNAME = "127.0.0.1";
/** `sendMany` returns a wrong number of sent datagrams for longer batches. */
const SEND_MANY_MAX = 204;

type Socket = Bun.udp.Socket<"buffer">;
type OnData = (socket: Socket, data: Buffer<ArrayBuffer>, port: number, address: string) => void;

await runPeer({
  sink: ({ receiveBufferBytes, recorder }) =>
    listen(receiveBufferBytes, (_socket, data) => {
      if (recorder.isChecking) recorder.check(data);
      recorder.count(1);
    }),

  echo: ({ receiveBufferBytes }) =>
    listen(
      receiveBufferBytes,
      (socket, data, port, address) => void socket.send(data, port, address),
    ),

  relay,

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await Bun.udpSocket({ connect: { hostname: HOSTNAME, port } });
      return { send: () => sendAll((batch) => socket.sendMany(batch), [...datagrams], 1) };
    }
    const socket = await Bun.udpSocket({ hostname: HOSTNAME });
    const batch = batchTo(ports);
    const parts: (Uint8Array<ArrayBuffer> | number | string)[][] = [];
    for (let i = 0; i < batch.length; i += SEND_MANY_MAX) {
      const part = batch.slice(i, i + SEND_MANY_MAX);
      parts.push(part.flatMap(({ data, port }) => [data, port, HOSTNAME]));
    }
    return {
      async send() {
        for (const part of parts) await sendAll((left) => socket.sendMany(left), part, 3);
      },
    };
  },
});

/** Opens a receiving socket. `Bun.udpSocket` has no option for the size of the receive buffer. */
async function listen(receiveBufferBytes: number | undefined, data: OnData): Promise<Listener> {
  const socket = { data };
  if (receiveBufferBytes === undefined) return Bun.udpSocket({ hostname: HOSTNAME, socket });
  // Imported only where it is used, since the start-up time of this peer is measured as well.
  const { UdpSocket } = await import("../../../lib/index.ts");
  const fd = (await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes })).intoFd();
  // `Bun.udpSocket` accepts a descriptor, which its types do not declare.
  return Bun.udpSocket({ fd, socket } as object);
}

/** Sends a batch with `stride` elements per datagram. Retries what is not sent at once. */
async function sendAll<Element>(
  sendMany: (batch: Element[]) => number,
  batch: Element[],
  stride: number,
): Promise<void> {
  let sent = sendMany(batch);
  while (sent * stride < batch.length) {
    await new Promise(setImmediate);
    sent += sendMany(batch.slice(sent * stride));
  }
}

/** Prepends the prefix on arrival. Sends 64 datagrams at a time, or fewer at the end of a tick. */
async function relay(
  { receiveBufferBytes, recorder }: ListenOptions,
  to: number,
): Promise<Listener> {
  const out = await Bun.udpSocket({ connect: { hostname: HOSTNAME, port: to } });
  const slots = Array.from({ length: BATCH }, () => {
    const slot = new Uint8Array(new ArrayBuffer(SLOT_BYTES));
    slot.set(PREFIX);
    return slot;
  });
  const batch: Uint8Array<ArrayBuffer>[] = [];
  const flush = () => {
    for (let sent = 0; sent < batch.length; )
      sent += out.sendMany(sent ? batch.slice(sent) : batch);
    recorder.count(batch.length);
    batch.length = 0;
  };
  return listen(receiveBufferBytes, (_socket, data) => {
    if (recorder.isChecking) recorder.check(data);
    const slot = slots[batch.length] as Uint8Array<ArrayBuffer>;
    slot.set(data, PREFIX.length);
    if (batch.length === 0) setImmediate(() => batch.length > 0 && flush());
    batch.push(slot.subarray(0, PREFIX.length + data.length));
    if (batch.length === BATCH) flush();
  });
}
