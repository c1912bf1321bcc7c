/**
 * Waits on sockets whose halves are shut down through a duplicate descriptor: prints how much
 * processor time and how many calls that takes, and whether a datagram still arrives.
 */

import { AsyncFd, pollFn, pollRecvmmsg, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { SHUT_RD, SHUT_RDWR, shutdown } from "../tools/libc.ts";

const WAIT_MS = 400;
const native = loadedNative();
const [kind = "", half = ""] = process.argv.slice(2);
const how = half === "both" ? SHUT_RDWR : SHUT_RD;

function shutDown(fd: number): void {
  const duplicate = native.duplicate(fd);
  shutdown(duplicate, how);
  native.close(duplicate);
}

async function measure(wouldBlocks: () => number): Promise<object> {
  await Bun.sleep(50);
  const before = { cpu: process.cpuUsage(), calls: wouldBlocks() };
  await Bun.sleep(WAIT_MS);
  const { user, system } = process.cpuUsage(before.cpu);
  return { cpuMs: (user + system) / 1000, calls: wouldBlocks() - before.calls };
}

if (kind === "AsyncFd") {
  const fd = native.open(2, 2, 0);
  shutDown(fd);
  const ready = await AsyncFd.open(fd);
  let calls = 0;
  const waiting = pollFn((waker) => {
    calls++;
    return pollRecvmmsg(ready, waker, [new Uint8Array(100)]);
  });
  waiting.catch(() => {});
  console.log(JSON.stringify(await measure(() => calls)));
} else {
  const [left, right] = kind === "Unix" ? await UnixDatagram.pair() : await udpPair();
  if (half === "handler" && right instanceof UdpSocket) right.onTransportError(() => {});
  const received = right.recv(new Uint8Array(100)).catch((error) => error.code);
  await Bun.sleep(5);
  shutDown(right.asRawIo() as number);
  if (half === "handler") shutdown(right.asRawIo() as number, SHUT_RDWR);
  const measured = await measure(() => right.counters.receiveWouldBlocks);
  // UDP delivers datagrams to such a socket nevertheless.
  if (kind === "UDP") await left.send(new Uint8Array(7));
  const length = kind === "UDP" ? await received : undefined;
  console.log(JSON.stringify({ ...measured, length }));
}
process.exit(0);

async function udpPair(): Promise<[UdpSocket, UdpSocket]> {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const { port } = receiver.localAddr;
  return [await UdpSocket.connect({ hostname: "127.0.0.1", port }), receiver];
}
