/**
 * A program for `bun --hot` with a socket, which saves itself to be reloaded, and prints what it
 * holds after each load. Sockets of earlier loads exchange datagrams with that of the latest.
 *
 * The test copies it, and replaces the path of the library. The number of reloads is in RELOADS.
 */

import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { recvmmsg, type SocketAddress, UdpSocket } from "../../lib/index.ts";

/** What the process holds. */
export interface Holdings {
  readonly descriptors: number;
  readonly epolls: number;
  readonly threads: number;
  readonly mappings: number;
}

/** What the loads have in common. */
interface Loads {
  count: number;
  /** The functions of the loaded libraries: those of one load are not those of another. */
  readonly functions: Set<unknown>;
  /** The first socket, which stays open, and the latest. */
  first: UdpSocket | undefined;
  latest: UdpSocket | undefined;
  readonly holdings: Holdings[];
}

const shared = globalThis as { loads?: Loads };
shared.loads ??= {
  count: 0,
  functions: new Set(),
  first: undefined,
  latest: undefined,
  holdings: [],
};
const { loads } = shared;

/** The number of reloads. */
const RELOADS = Number(process.env.RELOADS);

function holdings(): Holdings {
  const descriptors = readdirSync("/proc/self/fd");
  const links = descriptors.map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return {
    descriptors: links.filter((link) => link !== "").length,
    epolls: links.filter((link) => link === "anon_inode:[eventpoll]").length,
    threads: readdirSync("/proc/self/task").length,
    mappings: readFileSync("/proc/self/maps", "utf8").split("\n").length - 1,
  };
}

/** Sends a datagram, which `to` echoes, and returns the number of bytes of the echo. */
async function roundTrip(from: UdpSocket, to: UdpSocket): Promise<number> {
  const bytes = new Uint8Array(16);
  const echoed = to.recvFrom(bytes);
  await from.sendTo(new Uint8Array(9), to.localAddr);
  const { length, peer } = await echoed;
  await to.sendTo(bytes.subarray(0, length), peer as SocketAddress);
  return (await from.recvFrom(new Uint8Array(16))).length;
}

const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
loads.first ??= await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
if ((await roundTrip(loads.first, socket)) !== 9) throw new Error("no echo of the new socket");
if (loads.latest !== undefined && (await roundTrip(socket, loads.latest)) !== 9) {
  throw new Error("no echo of the socket before");
}
loads.latest?.close();
loads.latest = socket;
loads.functions.add(recvmmsg);
loads.holdings.push(holdings());
if (loads.count++ < RELOADS) {
  writeFileSync(import.meta.path, readFileSync(import.meta.path));
} else {
  console.log(JSON.stringify({ copies: loads.functions.size, holdings: loads.holdings }));
  process.exit();
}
