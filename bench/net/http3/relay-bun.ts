/** A naive relay on `Bun.udpSocket`. */

import { runRelay } from "./relay.ts";

const hostname = "127.0.0.1";

await runRelay({
  async listen(onData) {
    const socket = await Bun.udpSocket({
      hostname,
      socket: { data: (_socket, data, port, address) => onData(data, port, address) },
    });
    return {
      port: socket.port,
      send: (data, port, address) => void socket.send(data, port, address),
    };
  },
  async connect(port, onData) {
    const socket = await Bun.udpSocket({
      connect: { hostname, port },
      socket: { data: (_socket, data) => onData(data) },
    });
    return (data) => void socket.send(data);
  },
});
