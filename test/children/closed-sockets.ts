/**
 * Opens sockets that receive one datagram of many each, and closes them, twice. Prints by how much
 * the second time has increased the private memory of the process in MiB since the end of a smaller
 * round.
 */

import { readFileSync } from "node:fs";
import { UdpSocket } from "../../lib/index.ts";

const SOCKETS = 90;
const DATAGRAMS = 64;

async function privateMiB(): Promise<number> {
  for (let i = 0; i < 8; i++) {
    Bun.gc(true);
    await Bun.sleep(50);
  }
  const rollup = readFileSync("/proc/self/smaps_rollup", "latin1");
  return Number(/Private_Dirty:\s+(\d+)/.exec(rollup)?.[1]) / 1024;
}

async function openReceiveAndClose(count: number): Promise<void> {
  const sockets: UdpSocket[] = [];
  const options = { hostname: "127.0.0.1", backend: "native" } as const;
  for (let i = 0; i < count; i++) sockets.push(await UdpSocket.bind(options));
  const sender = await UdpSocket.bind(options);
  const payloads = Array.from({ length: DATAGRAMS }, () => new Uint8Array(1200));
  for (const socket of sockets) {
    await sender.sendMany(payloads, { to: socket.localAddr });
    await socket.recv(new Uint8Array(1500));
  }
  for (const socket of sockets) socket.close();
  sender.close();
}

await openReceiveAndClose(5);
const before = await privateMiB();
for (let i = 0; i < 2; i++) await openReceiveAndClose(SOCKETS);
console.log(JSON.stringify({ retainedMiB: (await privateMiB()) - before }));
process.exit(0);
