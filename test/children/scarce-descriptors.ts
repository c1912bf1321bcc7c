/**
 * Opens the first socket of a process while 0, 1, 2 ... descriptors are left, until that succeeds.
 * Prints the name and code of each error, and the number of descriptors that each attempt has left
 * open. Argument: the kind of socket. Run with a limit of descriptors.
 */

import { closeSync, openSync } from "node:fs";
import {
  AsyncFd,
  isNonblocking,
  type SocketError,
  UdpSocket,
  UnixDatagram,
  WouldBlock,
} from "../../lib/index.ts";
import { openDescriptors } from "../tools/sockets.ts";

const ATTEMPTS_MAX = 40;

type Opened = { readonly backend?: string; close(): void };

const KINDS: Record<string, () => Promise<Opened>> = {
  udp: () => UdpSocket.bind({ hostname: "127.0.0.1" }),
  "udp with reusePort": () => UdpSocket.bind({ hostname: "127.0.0.1", reusePort: true }),
  "udp, native": () => UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" }),
  "udp, portable": () => UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" }),
  unix: () => UnixDatagram.unbound(),
  "unix pair": async () => {
    const [left, right] = await UnixDatagram.pair();
    right.close();
    return left;
  },
  AsyncFd: () => AsyncFd.open(0),
  isNonblocking: async () => {
    isNonblocking(0);
    return { close() {} };
  },
};

const warnings: string[] = [];
process.on("warning", ({ message }) => warnings.push(message));

const open = KINDS[process.argv[2] as string] as () => Promise<Opened>;
// Loaded before the descriptors are taken: they are not the subject. The published bundle includes
// the portable engine.
openDescriptors();
process.getBuiltinModule("node:os");
await import("../../lib/engine/portable/portable-engine.ts");

/** Opens descriptors until there are none. */
function takeAll(): number[] {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    return taken;
  }
}

const errors: string[] = [];
const left: number[] = [];
let socket: Opened | undefined;
const before = openDescriptors();
for (let free = 0; free < ATTEMPTS_MAX && socket === undefined; free++) {
  const taken = takeAll();
  for (const fd of taken.splice(0, free)) closeSync(fd);
  try {
    socket = await open();
  } catch (error) {
    errors.push(`${(error as SocketError).name} ${(error as SocketError).code}`);
  }
  for (const fd of taken) closeSync(fd);
  // Descriptors of a reactor that was given up are closed when it is collected.
  for (let i = 0; i < 20 && socket === undefined && openDescriptors() > before; i++) {
    Bun.gc(true);
    await Bun.sleep(5);
  }
  if (socket === undefined) left.push(openDescriptors() - before);
}

let received: unknown;
if (socket instanceof UdpSocket) {
  await socket.sendTo(new Uint8Array(3), socket.localAddr);
  received = await socket.recv(new Uint8Array(9));
  if (received === WouldBlock) received = 0;
}
const { backend } = socket ?? {};
socket?.close();
console.log(JSON.stringify({ errors, left, backend, received, warnings }));
process.exit(0);
