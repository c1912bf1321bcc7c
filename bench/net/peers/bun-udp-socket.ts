/** `Bun.udpSocket`, used as its documentation shows and as fast as it goes. */

import { BATCH, datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import { type Ingress, type Opened, runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";

type Socket = Bun.udp.Socket<"buffer">;
type OnData = (socket: Socket, data: Buffer<ArrayBuffer>, port: number, address: string) => void;

await runPeer({
  sink: ({ receiveBufferBytes, received }) =>
    listen(receiveBufferBytes, (_socket, data) => {
      if (received.isChecking) received.check(data);
      received.count(1);
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
    const batch = datagrams.flatMap((data, i) => [data, ports[i % ports.length] ?? 0, HOSTNAME]);
    return { send: () => sendAll((rest) => socket.sendMany(rest), batch, 3) };
  },
});

/** Opens a socket whose receive buffer has a size: `Bun.udpSocket` has no option for it. */
async function listen(receiveBufferBytes: number | undefined, data: OnData): Promise<Opened> {
  const socket = { data };
  if (receiveBufferBytes === undefined) return Bun.udpSocket({ hostname: HOSTNAME, socket });
  // Not imported where it is not needed: what it costs to start this peer is measured as well.
  const { UdpSocket } = await import("../../../lib/index.ts");
  const fd = (await UdpSocket.bind({ hostname: HOSTNAME, receiveBufferBytes })).intoFd();
  // It adopts descriptors, though its types do not say so.
  return Bun.udpSocket({ fd, socket } as object);
}

/** Sends a batch of `stride` elements a datagram; what does not go at once, goes later. */
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

/** Prefixes datagrams as they come and sends them 64 at a time, or once no more are there. */
async function relay({ receiveBufferBytes, received }: Ingress, to: number): Promise<Opened> {
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
    received.count(batch.length);
    batch.length = 0;
  };
  return listen(receiveBufferBytes, (_socket, data) => {
    if (received.isChecking) received.check(data);
    const slot = slots[batch.length] as Uint8Array<ArrayBuffer>;
    slot.set(data, PREFIX.length);
    if (batch.length === 0) setImmediate(() => batch.length > 0 && flush());
    batch.push(slot.subarray(0, PREFIX.length + data.length));
    if (batch.length === BATCH) flush();
  });
}
