/** Takes sockets of `Bun.udpSocket` over: their descriptors, and what Bun reads meanwhile. */

import type { Native } from "../../ffi/native.ts";
import { SocketAddress } from "../address/socket-address.ts";
import type { EarlyDatagram } from "../engine/native/native-receiver.ts";
import { argumentError, typeError } from "../support/check.ts";
import { checkResult, closedError } from "../support/errors.ts";
import { BATCH_COUNT_MAX } from "../support/limits.ts";
import { sharedValue } from "../support/thread-state.ts";
import { setImmediate } from "../support/timers.ts";

/** A socket of Bun, with the members that its types lack or declare otherwise. */
interface BunSocket extends Bun.udp.BaseUDPSocket {
  /** The descriptor; -1 if the socket is closed. */
  readonly fd?: number;
  /** Replaces the handlers. They are expected as in the options of `Bun.udpSocket`. */
  reload(options: { readonly socket: { data: DataHandler } }): void;
}

type DataHandler = (socket: unknown, bytes: Uint8Array, port: number, address: string) => void;

/** A descriptor that was taken over. */
export interface TakenOver {
  readonly fd: number;
  /** The datagrams that Bun has received since the take-over began. */
  readonly received: readonly EarlyDatagram[];
  /** The number of further ones, which were dropped. */
  readonly dropped: number;
}

/** @throws TypeError if `socket` is not a socket of Bun. */
export function checkBunSocket(socket: unknown): asserts socket is BunSocket {
  const { fd, close, reload } = (socket ?? {}) as Partial<BunSocket>;
  if (typeof fd !== "number" || typeof close !== "function" || typeof reload !== "function") {
    const { message } = typeError("socket", "socket of Bun.udpSocket", socket);
    throw argumentError(
      TypeError,
      socket instanceof Promise ? `${message} (await the promise)` : message,
    );
  }
}

/** Sockets that are being taken over. */
const taken: WeakSet<BunSocket> = sharedValue("taken", () => new WeakSet());

/**
 * Duplicates the descriptor of `socket`, calls `prepare` with the duplicate, and closes `socket`. If
 * `prepare` throws, `socket` remains as it is.
 *
 * Bun reads up to 8 datagrams at once, and calls the `data` handler for each. A close between two of
 * these calls would discard the remaining ones, and this function may run there: in a handler, or in
 * a microtask after it. The socket is therefore closed in a later phase of the event loop, and what
 * Bun reads until then is collected.
 *
 * @throws SocketError with code `ERR_SOCKET_CLOSED` if it is closed or taken over already; `EMFILE`.
 */
export async function takeOver(
  native: Native,
  socket: BunSocket,
  prepare: (fd: number) => void,
): Promise<TakenOver> {
  if (taken.has(socket)) throw closedError("from");
  const fd = checkResult(native.duplicate(descriptorOf(socket)), "fcntl");
  const received: EarlyDatagram[] = [];
  let dropped = 0;
  try {
    prepare(fd);
    taken.add(socket);
    socket.reload({
      socket: {
        data(_socket, bytes, port, address) {
          if (received.length === BATCH_COUNT_MAX) dropped++;
          else received.push({ bytes, peer: SocketAddress.ip(address, port) });
        },
      },
    });
    await new Promise((resolve) => setImmediate(resolve));
    // Its owner may have closed it.
    descriptorOf(socket);
    socket.close();
  } catch (error) {
    native.close(fd);
    throw error;
  }
  return { fd, received, dropped };
}

function descriptorOf({ fd, closed }: BunSocket): number {
  if (closed || fd === undefined || fd < 0) throw closedError("from");
  return fd;
}
