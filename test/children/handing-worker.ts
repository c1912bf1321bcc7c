/**
 * A Worker that adopts the descriptor that it receives, and hands over the one of another socket:
 * its number and port are posted.
 */

import { UdpSocket } from "../../lib/index.ts";

declare const self: Worker;

/** Kept open until the Worker is terminated. */
const adopted: UdpSocket[] = [];

self.onmessage = async ({ data: fd }: MessageEvent<number>) => {
  adopted.push(await UdpSocket.fromFd(fd));
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  self.postMessage({ given: socket.intoFd(), port: socket.localAddr.port });
};
