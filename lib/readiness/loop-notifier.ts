/**
 * Makes Bun's event loop watch the poller's epoll instance: one wake-up per event, no thread.
 *
 * Bun watches an empty UDP socket, and the epoll instance then takes over the descriptor number of
 * that socket. Bun finds the number readable when a socket is ready, fails to receive from it
 * (ENOTSOCK), and calls the `error` callback of the empty socket. docs/readiness.md explains why
 * that is safe, and what is probed.
 */

import type { Native, Poller } from "../../ffi/native.ts";
import { AF_INET } from "../address/sockaddr.ts";
import { SOCK_DGRAM } from "../linux/constants.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import { type Notifier, within } from "./notifier.ts";

/** The maximum time until Bun's event loop has processed a new socket. */
const CREATION_TIMEOUT_MS = 250;

/**
 * Opens a notifier that calls `onNotify` while a descriptor of `poller` is ready.
 *
 * @throws SocketError or Error if Bun's event loop does not work as expected.
 */
export async function openLoopNotifier(
  native: Native,
  poller: Poller,
  onNotify: () => void,
): Promise<Notifier> {
  const fd = checkResult(native.open(AF_INET, SOCK_DGRAM, 0), "socket");
  const created = Promise.withResolvers<void>();
  const handlers = { error: onNotify, drain: () => created.resolve(), data() {} };
  let socket: Bun.udp.Socket<"buffer">;
  try {
    // `fd` is supported, although it is missing from bun-types.
    socket = await Bun.udpSocket({ fd, socket: handlers } as object);
  } catch (error) {
    native.close(fd);
    throw error;
  }
  // Bun has adopted the descriptor, and closes it. If a Worker is terminated before this line, Bun
  // closes it first, and the destructor of the owner finds that it is not open any more.
  native.disown(fd);
  try {
    // Bun first registers a new socket for writability, and calls `drain` once.
    await within(CREATION_TIMEOUT_MS, created.promise, 'mode "loop": Bun called no drain callback');
    const result = poller.openInLoop(fd);
    if (result < 0) {
      const detail = "Bun's event loop cannot watch an epoll instance";
      throw new SocketError({ errno: -result, syscall: "epoll_ctl", detail });
    }
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}
