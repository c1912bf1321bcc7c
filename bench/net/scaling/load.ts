/**
 * Sends datagrams of several flows, each from a port of its own, until it is terminated. Every
 * datagram starts with its 32-bit flow ID. Writes the number of datagrams sent so far, as a line, at
 * each line of its standard input.
 *
 *     load.ts PORT FIRST_FLOW FLOWS BYTES
 */

import { UdpSocket } from "../../../lib/index.ts";

/** The datagrams of one call, which GSO sends as one message. */
const BURST = 50;

const [port, firstFlow, flows, bytes] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
];
const senders = await Promise.all(
  Array.from({ length: flows }, async (_, i) => {
    const socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { sendErrors: "drop" });
    const payload = Buffer.alloc(bytes);
    payload.writeUInt32BE(firstFlow + i);
    return { socket, burst: new Array<Uint8Array>(BURST).fill(payload) };
  }),
);
let sent = 0;

async function report(): Promise<void> {
  for await (const _ of console) console.log(sent);
  process.exit(0);
}

void report();
for (;;) {
  for (const { socket, burst } of senders) sent += await socket.sendMany(burst);
  // Lets the other promises of this process continue.
  await new Promise(setImmediate);
}
