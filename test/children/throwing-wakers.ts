/** Polls with wakers that throw, and prints the errors reported and what other sockets receive. */

import { isNonblocking, SocketError, UdpSocket } from "../../lib/index.ts";

const reported: string[] = [];
process.on("uncaughtException", (error) => {
  reported.push(error.message);
});

const backend = process.argv[2] as "native" | "portable";
const bind = () => UdpSocket.bind({ hostname: "127.0.0.1", backend });
const [first, second, sender] = [await bind(), await bind(), await bind()];
const throwing = () => {
  throw new Error("of a waker");
};

first.pollRecv(throwing, new Uint8Array(1));
const received = second.recv(new Uint8Array(1));
await sender.sendTo(new Uint8Array(1), first.localAddr);
await sender.sendTo(new Uint8Array(1), second.localAddr);
const length = await received;
while (reported.length < 1) await new Promise((resolve) => setImmediate(resolve));

// The socket whose waker threw still works.
const own = await first.recv(new Uint8Array(1));
const fd = first.asRawIo();
first.pollRecv(throwing, new Uint8Array(1));
let isThrown = false;
try {
  first.close();
} catch {
  isThrown = true;
}
while (reported.length < 2) await new Promise((resolve) => setImmediate(resolve));
let isOpen = false;
try {
  if (fd !== undefined) isOpen = isNonblocking(fd) || true;
} catch (error) {
  isOpen = !(error instanceof SocketError);
}
await sender.sendTo(new Uint8Array(1), second.localAddr);
const after = await second.recv(new Uint8Array(1));
second.close();
sender.close();
console.log(JSON.stringify({ reported, length, own, isThrown, isOpen, after }));
