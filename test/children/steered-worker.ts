/**
 * A Worker with a socket of a `reusePort` group. Binds it at the port that it receives, and posts its
 * port. Any later message makes it post the flow IDs of what has arrived since the last one.
 */

import { UdpSocket, WouldBlock } from "../../lib/index.ts";

declare const self: Worker;

const FLOW_ID_BYTES = 4;

self.onmessage = async ({ data: port }: MessageEvent<number>) => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", port, reusePort: true });
  self.onmessage = () => {
    const flows: number[] = [];
    const buffer = Buffer.alloc(FLOW_ID_BYTES);
    while (socket.tryRecvMany([buffer]) !== WouldBlock) flows.push(buffer.readUInt32BE(0));
    self.postMessage(flows);
  };
  self.postMessage(socket.localAddr.port);
};
