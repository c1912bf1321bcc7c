/**
 * npm `unix-dgram`, an addon for Node. `send` calls its callback synchronously with the result of
 * the system call.
 */

import { type EventEmitter, once } from "node:events";
import { createRequire } from "node:module";
import { datagrams } from "../datagrams.ts";
import { runPeer } from "./run-peer.ts";

/** The parts of its API that are used here: it has no types. */
interface UnixSocket extends EventEmitter {
  bind(path: string): void;
  connect(path: string): void;
  send(data: Uint8Array, onSent: (error?: Error & { code: string | number }) => void): void;
}
interface UnixDgram {
  createSocket(type: "unix_dgram", listener?: (data: Buffer) => void): UnixSocket;
}

/** The error code for a full receive queue. */
const CONGESTION = 1;

const require = createRequire(import.meta.url);
const { createSocket } = require("unix-dgram") as UnixDgram;

await runPeer({
  async unixSink(path, recorder) {
    const socket = createSocket("unix_dgram", (data) => {
      if (recorder.isChecking) recorder.check(data);
      recorder.count(1);
    });
    socket.bind(path);
    return { port: 0 };
  },

  async unixSender(path) {
    const socket = createSocket("unix_dgram");
    socket.connect(path);
    return {
      async send() {
        for (const data of datagrams) {
          while (!trySend(socket, data)) await once(socket, "writable");
        }
      },
    };
  },
});

/** Returns whether the datagram was sent. If not, the receive queue is full. */
function trySend(socket: UnixSocket, data: Uint8Array): boolean {
  let isSent = true;
  socket.send(data, (error) => {
    if (error === undefined) return;
    if (error.code !== CONGESTION) throw error;
    isSent = false;
  });
  return isSent;
}
