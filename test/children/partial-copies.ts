/**
 * Loads UDP sockets from one copy of the library and Unix sockets from another, as two bundles do
 * from which unused modules were removed. Prints the bytes received, and how many descriptors the
 * Unix sockets have added.
 */

const [first = "", second = ""] = process.argv.slice(2);
const { UdpSocket }: typeof import("../../lib/sockets/udp.ts") = await import(
  `${first}/lib/sockets/udp.ts`
);
const { UnixDatagram }: typeof import("../../lib/sockets/unix.ts") = await import(
  `${second}/lib/sockets/unix.ts`
);
const { SendBatch }: typeof import("../../lib/batch/send-batch.ts") = await import(
  `${first}/lib/batch/send-batch.ts`
);

await using udp = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
const arrived = udp.recvFrom(new Uint8Array(16));
await udp.sendTo(new Uint8Array(3), udp.localAddr);
const lengths = [(await arrived).length];

const { readdirSync } = await import("node:fs");
const before = readdirSync("/proc/self/fd").length;
const [left, right] = await UnixDatagram.pair();
const waiting = right.recv(new Uint8Array(16));
await left.sendBatch(new SendBatch().push(new Uint8Array(5)));
lengths.push(await waiting);
const added = readdirSync("/proc/self/fd").length - before;
left.close();
right.close();
console.log(JSON.stringify({ lengths, added }));
