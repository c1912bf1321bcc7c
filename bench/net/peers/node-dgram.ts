/** `node:dgram`, on Node and on Bun. */

import dgram, { type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { datagrams, PREFIX } from "../datagrams.ts";
import type { Listener } from "./peer.ts";
import { runPeer } from "./run-peer.ts";

const HOSTNAME = "127.0.0.1";

type OnMessage = (socket: Socket, data: Uint8Array, from: RemoteInfo) => void;

await runPeer({
  sink: ({ receiveBufferBytes, recorder }) =>
    listen(receiveBufferBytes, (_socket, data) => {
      if (recorder.isChecking) recorder.check(data);
      recorder.count(1);
    }),

  echo: ({ receiveBufferBytes }) =>
    listen(receiveBufferBytes, (socket, data, { port, address }) =>
      socket.send(data, port, address),
    ),

  async relay({ receiveBufferBytes, recorder }, to) {
    const out = await connected(to);
    return listen(receiveBufferBytes, (_socket, data) => {
      if (recorder.isChecking) recorder.check(data);
      out.send([PREFIX, data], () => recorder.count(1));
    });
  },

  async sender(ports) {
    const [port = 0] = ports;
    if (ports.length === 1) {
      const socket = await connected(port);
      return { send: () => sendEach((i, onSent) => socket.send(data(i), onSent)) };
    }
    const socket = dgram.createSocket("udp4");
    const portOf = (i: number) => ports[i % ports.length] as number;
    return {
      send: () => sendEach((i, onSent) => socket.send(data(i), portOf(i), HOSTNAME, onSent)),
    };
  },
});

function data(i: number): Uint8Array {
  return datagrams[i] as Uint8Array;
}

async function listen(recvBufferSize: number | undefined, onMessage: OnMessage): Promise<Listener> {
  const socket = dgram.createSocket({
    type: "udp4",
    ...(recvBufferSize !== undefined && { recvBufferSize }),
  });
  socket.on("message", (data, from) => onMessage(socket, data, from));
  // Bun emits ECONNREFUSED if a reply is sent to a client that has closed its socket.
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

/** Sends a batch one by one, since there is no other way. Resolves when all have been sent. */
function sendEach(send: (i: number, onSent: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = datagrams.length;
    const onSent = (error: Error | null) => {
      if (error) reject(error);
      else if (--left === 0) resolve();
    };
    for (let i = 0; i < datagrams.length; i++) send(i, onSent);
  });
}
