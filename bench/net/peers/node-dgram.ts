/** `node:dgram`, on Node and on Bun. */

import dgram, { type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { datagrams, PREFIX } from "../datagrams.ts";
import { type Opened, runPeer } from "./peer.ts";

const HOSTNAME = "127.0.0.1";

type OnMessage = (socket: Socket, data: Uint8Array, from: RemoteInfo) => void;

await runPeer({
  sink: ({ receiveBufferBytes, received }) =>
    listen(receiveBufferBytes, (_socket, data) => {
      if (received.isChecking) received.check(data);
      received.count(1);
    }),

  echo: ({ receiveBufferBytes }) =>
    listen(receiveBufferBytes, (socket, data, { port, address }) =>
      socket.send(data, port, address),
    ),

  async relay({ receiveBufferBytes, received }, to) {
    const out = await connected(to);
    return listen(receiveBufferBytes, (_socket, data) => {
      if (received.isChecking) received.check(data);
      out.send([PREFIX, data], () => received.count(1));
    });
  },

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await connected(port);
      return { send: () => sendEach((i, sent) => socket.send(data(i), sent)) };
    }
    const socket = dgram.createSocket("udp4");
    const portOf = (i: number) => ports[i % ports.length] as number;
    return { send: () => sendEach((i, sent) => socket.send(data(i), portOf(i), HOSTNAME, sent)) };
  },
});

function data(i: number): Uint8Array {
  return datagrams[i] as Uint8Array;
}

async function listen(recvBufferSize: number | undefined, onMessage: OnMessage): Promise<Opened> {
  const socket = dgram.createSocket({
    type: "udp4",
    ...(recvBufferSize !== undefined && { recvBufferSize }),
  });
  socket.on("message", (data, from) => onMessage(socket, data, from));
  // Bun tells so of clients that are gone when they are answered.
  socket.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "ECONNREFUSED") throw error;
  });
  socket.bind(0, HOSTNAME);
  await once(socket, "listening");
  return { port: socket.address().port };
}

async function connected(port: number): Promise<Socket> {
  const socket = dgram.createSocket("udp4");
  socket.connect(port, HOSTNAME);
  await once(socket, "connect");
  return socket;
}

/** Sends a batch one by one, as there is no other way: done when the last one is gone. */
function sendEach(send: (i: number, sent: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = datagrams.length;
    const sent = (error: Error | null) => {
      if (error) reject(error);
      else if (--left === 0) resolve();
    };
    for (let i = 0; i < datagrams.length; i++) send(i, sent);
  });
}
