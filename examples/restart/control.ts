/**
 * The messages between a server and its successor, over Unix sockets in a folder that only their user
 * may access: whoever can send to the control socket gets the sockets of the server.
 *
 * The successor sends "take over" to the control socket, from a socket of its own. The server passes
 * its sockets in the reply, or makes room for the successor, and exits when that has confirmed.
 */

import { closeSync } from "node:fs";
import { type SocketAddress, UdpSocket, UnixDatagram } from "../../lib/index.ts";

/** How long a server waits for its successor, and the other way round. */
const REPLY_TIMEOUT_MS = 5000;

const MESSAGE_BYTES_MAX = 100;

/** The sockets of a process: the control socket, and one that has an address of its own. */
export interface ControlSockets {
  readonly control: UnixDatagram;
  readonly own: UnixDatagram;
}

/** The sockets that a successor has received. */
export interface ReceivedSockets extends ControlSockets {
  readonly udp: UdpSocket;
}

/** Opens the socket of this process. Its file is removed when it is closed. */
export function openOwn(controlPath: string): Promise<UnixDatagram> {
  return UnixDatagram.bind(`${controlPath}.${process.pid}`);
}

/** Waits for a message of `socket`, and returns its sender. */
export async function expectMessage(
  socket: UnixDatagram,
  expected: string,
  signal?: AbortSignal,
): Promise<SocketAddress> {
  const buffer = new Uint8Array(MESSAGE_BYTES_MAX);
  for (;;) {
    const { length, peer } = await socket.recvFrom(buffer, { signal });
    const text = new TextDecoder().decode(buffer.subarray(0, length));
    if (text === expected && peer !== undefined) return peer;
    console.error(`control socket expected "${expected}", got "${text}" from ${peer}`);
  }
}

/** Sends a message. */
export async function sendMessage(
  socket: UnixDatagram,
  to: SocketAddress | string,
  text: string,
): Promise<void> {
  await socket.sendTo(new TextEncoder().encode(text), to);
}

/** Returns the time limit of a reply. */
export function replyTimeout(timeoutMs: number = REPLY_TIMEOUT_MS): AbortSignal {
  return AbortSignal.timeout(timeoutMs);
}

/**
 * Passes the sockets of a server to its successor. Returns whether the successor has confirmed that it
 * uses them. If not, the server still has them, and must continue.
 */
export async function passSockets(
  { udp, control, own }: ReceivedSockets,
  successor: SocketAddress,
  timeoutMs?: number,
): Promise<boolean> {
  const fds = [udp.asRawIo() as number, control.asRawIo() as number];
  try {
    const signal = replyTimeout(timeoutMs);
    await own.sendFds(new TextEncoder().encode("sockets"), fds, { to: successor, signal });
    await expectMessage(own, "serving", signal);
  } catch (error) {
    console.error(`the successor ${successor} has not taken over: ${error}`);
    return false;
  }
  udp.close();
  // `close` would remove the file of the control socket, which the successor uses.
  closeSync(control.intoFd() as number);
  return true;
}

/** Asks the server at `controlPath` for its sockets. `confirm` must follow. */
export async function requestSockets(controlPath: string): Promise<ReceivedSockets> {
  const own = await openOwn(controlPath);
  await sendMessage(own, controlPath, "take over");
  const signal = replyTimeout();
  using received = await own.recvFds(new Uint8Array(MESSAGE_BYTES_MAX), { fdsMax: 2, signal });
  const [udpFd, controlFd] = received.intoFds();
  if (udpFd === undefined || controlFd === undefined) {
    throw new Error(`the server expected to pass 2 descriptors, got ${Bun.inspect(received)}`);
  }
  const udp = await UdpSocket.fromFd(udpFd);
  const control = await UnixDatagram.fromFd(controlFd);
  await sendMessage(own, received.meta.peer as SocketAddress, "serving");
  return { udp, control, own };
}
