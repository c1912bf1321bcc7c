/** Opens the UDP sockets of the proxy, with larger kernel buffers where the backend allows it. */

import {
  type Backend,
  type DatagramSocket,
  type HostAndPort,
  SocketError,
  UdpSocket,
} from "../../lib/index.ts";

/** The requested buffer size. The kernel limits it to `net.core.rmem_max` and `wmem_max`. */
const BUFFER_BYTES = 4 * 2 ** 20;

/** What the endpoints use of a socket: that of a `UdpSocket`, or of a simulated one. */
export type ProxySocket = DatagramSocket &
  Pick<UdpSocket, "localAddr" | "counters" | "close"> & { readonly backend: string };

/**
 * QUIC stacks without GSO send single datagrams in quick succession. Without a delay, few of them are
 * forwarded at a time.
 */
const BURST_DELAY_US = 100;

/** Options of `openSocket`: the local address, and the settings below. */
export interface SocketOptions extends Partial<HostAndPort> {
  /** The peer to connect to. Absent: the socket is not connected. */
  readonly connect?: HostAndPort | undefined;
  /** Default: the library's choice. */
  readonly backend?: Backend | undefined;
  /** The size to request for each of the two kernel buffers, in bytes. Default 4 MiB. */
  readonly bufferBytes?: number | undefined;
}

/**
 * Opens a UDP socket. The portable backend cannot set the size of the kernel's buffers, and keeps
 * the default.
 */
export async function openSocket(options: SocketOptions): Promise<UdpSocket> {
  const { bufferBytes = BUFFER_BYTES, ...rest } = options;
  // A datagram that the system refuses must not stop the others.
  const bindOptions = { ...rest, sendErrors: "drop", burstDelayUs: BURST_DELAY_US } as const;
  if (options.backend === "portable") return UdpSocket.bind(bindOptions);
  try {
    const bufferSizes = { receiveBufferBytes: bufferBytes, sendBufferBytes: bufferBytes };
    return await UdpSocket.bind({ ...bindOptions, ...bufferSizes });
  } catch (error) {
    if (!(error instanceof SocketError) || error.code !== "ERR_NOT_SUPPORTED") throw error;
    return UdpSocket.bind(bindOptions);
  }
}
