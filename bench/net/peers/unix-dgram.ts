/** npm `unix-dgram`, an addon for Node. It tells at once, from inside `send`, what became of a datagram. */

import { type EventEmitter, once } from "node:events";
import { createRequire } from "node:module";
import { datagrams } from "../datagrams.ts";
import { runPeer } from "./peer.ts";

/** What of it is used here: it has no types. */
interface UnixSocket extends EventEmitter {
  bind(path: string): void;
  connect(path: string): void;
  send(data: Uint8Array, sent: (error?: Error & { code: string | number }) => void): void;
}
interface UnixDgram {
  createSocket(type: "unix_dgram", listener?: (data: Buffer) => void): UnixSocket;
}

/** The code of its error for a receiver that is full. */
const CONGESTION = 1;

const require = createRequire(import.meta.url);
const { createSocket } = require("unix-dgram") as UnixDgram;

await runPeer({
  async unixSink(path, received) {
    const socket = createSocket("unix_dgram", (data) => {
      if (received.isChecking) received.check(data);
      received.count(1);
    });
    socket.bind(path);
    return { port: 0 };
  },

  async unixSender(path) {
    const socket = createSocket("unix_dgram");
    socket.connect(path);
    return {
      async send() {
        for (const data of datagrams) while (!isSent(socket, data)) await once(socket, "writable");
      },
    };
  },
});

/** Whether a datagram went; if not, the receiver is full. */
function isSent(socket: UnixSocket, data: Uint8Array): boolean {
  let isSent = true;
  socket.send(data, (error) => {
    if (error === undefined) return;
    if (error.code !== CONGESTION) throw error;
    isSent = false;
  });
  return isSent;
}
