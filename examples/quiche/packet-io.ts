/** What the driver needs of a socket. `BatchIo` implements it with this library. */

import type { Ecn, SocketAddress } from "../../lib/index.ts";
import type { Path } from "./path.ts";

/** The default of the maximum length of the UDP payloads that are sent. It fits nearly every path. */
export const PACKET_BYTES_MAX = 1350;

/** The side of the driver. */
export interface PacketReceiver {
  /** Called for each datagram. It may be modified, and is borrowed until the call returns. */
  receive(
    datagram: Uint8Array,
    local: SocketAddress,
    peer: SocketAddress,
    ecn: Ecn | undefined,
  ): void;
  /** Called when there are no more datagrams at the moment: the time to send. */
  afterReceive(): void;
  /** Called when sending is possible again after `flush` has returned false. */
  onWritable(): void;
}

/** A socket for many connections. */
export interface PacketIo {
  /** The address that the socket is bound to; possibly a wildcard address. */
  readonly localAddr: SocketAddress;
  /** The length of slots, and the maximum length of packets. */
  readonly packetBytesMax: number;
  /** Starts to receive. Called once. */
  start(receiver: PacketReceiver): void;
  /** Returns memory for the next packet. Absent if `flush` must be called first. */
  slot(): Uint8Array | undefined;
  /** Queues the packet of `length` bytes that was written to the latest slot. */
  push(length: number, path: Path): void;
  /** Sends the queued packets. Returns false if that is not possible at the moment. */
  flush(): boolean;
  close(): void;
}
