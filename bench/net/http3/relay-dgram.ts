/** A naive relay on `node:dgram`. */

import dgram from "node:dgram";
import { once } from "node:events";
import { runRelay } from "./relay.ts";

const HOSTNAME = "127.0.0.1";

await runRelay({
  async listen(onData) {
    const socket = dgram.createSocket("udp4");
    socket.on("message", (data, { port, address }) => onData(data, port, address));
    socket.bind(0, HOSTNAME);
    await once(socket, "listening");
    return {
      port: socket.address().port,
      send: (data, port, address) => socket.send(data, port, address),
    };
  },
  async connect(port, onData) {
    const socket = dgram.createSocket("udp4");
    socket.on("message", (data) => onData(data));
    socket.connect(port, HOSTNAME);
    await once(socket, "connect");
    return (data) => socket.send(data);
  },
});
