/**
 * Makes a helper thread watch the poller's epoll instance, and write a byte to a Unix stream
 * socket of Bun's event loop when a socket becomes ready: two wake-ups per event.
 */

import type { Native, Poller } from "../../ffi/native.ts";
import { AF_UNIX } from "../address/sockaddr.ts";
import { SOCK_STREAM } from "../linux/constants.ts";
import { checkResult, SocketError } from "../support/errors.ts";
import type { Notifier } from "./notifier.ts";

/**
 * Opens a notifier that calls `onNotify` when a descriptor of `poller` becomes ready.
 *
 * @throws SocketError or Error if a system call fails.
 */
export async function openThreadNotifier(
  native: Native,
  poller: Poller,
  onNotify: () => void,
): Promise<Notifier> {
  checkResult(native.pair(AF_UNIX, SOCK_STREAM), "socketpair");
  const [threadFd, loopFd] = [native.scratch[0] as number, native.scratch[1] as number];
  let socket: Bun.Socket;
  try {
    socket = await adoptStream(loopFd, onNotify);
  } catch (error) {
    native.close(loopFd);
    native.close(threadFd);
    throw error;
  }
  // As in loop-notifier.ts.
  native.disown(loopFd);
  const result = poller.openWithThread(threadFd);
  if (result < 0) {
    native.close(threadFd);
    socket.end();
    throw new SocketError({ errno: -result, syscall: "pthread_create" });
  }
  return { ref: () => socket.ref(), unref: () => socket.unref(), close: () => socket.end() };
}

/** `Bun.connect` adopts descriptors (`FdSocketOptions`); its overloads do not include that. */
function adoptStream(fd: number, onData: () => void): Promise<Bun.Socket> {
  const connect = Bun.connect as unknown as (options: object) => Promise<Bun.Socket>;
  return connect({ fd, socket: { data: onData, open() {}, close() {}, error() {} } });
}
