/**
 * A server process. Started by processes.ts with a `ServerConfig` as its argument. Reports to its
 * parent when it serves, and what it has done when it ends.
 */

import { UdpSocket, UnixDatagram } from "../../lib/index.ts";
import {
  expectMessage,
  openOwn,
  passSockets,
  type ReceivedSockets,
  replyTimeout,
  requestSockets,
  sendMessage,
} from "./control.ts";
import { type EchoCounts, EchoServer } from "./echo-server.ts";

/** The ways to replace a server. */
export type Way = "descriptors" | "reuseport";

/** The argument of the process. */
export interface ServerConfig {
  readonly way: Way;
  /** The path of the control socket. */
  readonly controlPath: string;
  /** The port of the server to replace; absent for the first one. */
  readonly replaces?: number;
}

/** The messages to the parent. */
export type ServerReport = { readonly port: number } | { readonly counts: EchoCounts };

/** How long no datagram must arrive in a socket that has left its group. */
const QUIET_MS = 20;

async function open({ way, controlPath, replaces }: ServerConfig): Promise<ReceivedSockets> {
  if (way === "descriptors" && replaces !== undefined) return requestSockets(controlPath);
  const own = await openOwn(controlPath);
  const udp = await UdpSocket.bind({
    hostname: "127.0.0.1",
    port: replaces ?? 0,
    reusePort: way === "reuseport",
    backend: "native",
  });
  if (replaces !== undefined) {
    // This socket gets its share of the datagrams already. The old server removes its control socket.
    await sendMessage(own, controlPath, "take over");
    await expectMessage(own, "left", replyTimeout());
  }
  return { udp, control: await UnixDatagram.bind(controlPath), own };
}

function report(message: ServerReport): void {
  process.send?.(message);
}

async function main(config: ServerConfig): Promise<void> {
  const sockets = await open(config);
  const { udp, control, own } = sockets;
  const server = new EchoServer(udp);
  report({ port: udp.localAddr.port });
  const terminated = new Promise<undefined>((resolve) => {
    process.once("SIGTERM", () => resolve(undefined));
  });
  for (;;) {
    const stop = new AbortController();
    const served = server.serve(stop.signal);
    const failed = served.then(() => {
      throw new Error("the server expected to serve until it is stopped");
    });
    const successor = await Promise.race([expectMessage(control, "take over"), terminated, failed]);
    failed.catch(() => {});
    stop.abort();
    await served;
    if (successor === undefined) {
      udp.close();
      control.close();
      break;
    }
    if (config.way === "descriptors") {
      if (await passSockets(sockets, successor)) break;
    } else {
      udp.leaveReusePort();
      await server.drain(QUIET_MS);
      udp.close();
      control.close();
      await sendMessage(own, successor, "left");
      break;
    }
  }
  report({ counts: server.counts });
  own.close();
  process.disconnect?.();
}

await main(JSON.parse(process.argv[2] as string));
