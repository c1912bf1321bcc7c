/** Opens the proxy's sockets: with large buffers in the kernel where that can be asked for. */

import { type Backend, type HostAndPort, SocketError, UdpSocket } from "../../lib/index.ts";

/** Asked of the kernel, which gives `net.core.rmem_max` and `wmem_max` at the most. */
const BUFFER_BYTES = 4 * 2 ** 20;

/** What a socket is opened with. */
export interface SocketOptions extends Partial<HostAndPort> {
  readonly connect?: HostAndPort | undefined;
  /** Which engine drives it. Default: the library's choice. */
  readonly backend?: Backend | undefined;
  /** Bytes to ask the kernel for in each direction. Default 4 MiB. */
  readonly bufferBytes?: number | undefined;
}

/** Opens a UDP socket. The portable backend has no say in the kernel's buffers, and does without. */
export async function openSocket(options: SocketOptions): Promise<UdpSocket> {
  const { bufferBytes = BUFFER_BYTES, ...rest } = options;
  if (options.backend === "portable") return UdpSocket.bind(rest);
  try {
    const sizes = { receiveBufferBytes: bufferBytes, sendBufferBytes: bufferBytes };
    return await UdpSocket.bind({ ...rest, ...sizes });
  } catch (error) {
    if (!(error instanceof SocketError) || error.code !== "ERR_NOT_SUPPORTED") throw error;
    return UdpSocket.bind(rest);
  }
}
