/**
 * A UDP socket for a QUIC driver: `recvBatch` and `sendBatch`.
 *
 * Packets are written to adjacent slots of one buffer. Those of a burst have the same length and the
 * same peer, so that the kernel receives them as one message and one piece of memory (GSO). With
 * GRO, the bursts of peers arrive in the same way. Addresses and the ECN field are read once per
 * message, since they are the same for all its datagrams.
 */

import {
  type Ecn,
  isClosedError,
  RecvBatch,
  RecvMeta,
  SendBatch,
  type SocketAddress,
  SocketError,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import { PACKET_BYTES_MAX, type PacketIo, type PacketReceiver } from "./packet-io.ts";
import type { Path } from "./path.ts";

/** The UDP payloads that are sent in one system call at most. */
const MESSAGES = 4;
/** The maximum payload of a GSO message over IPv4: 48 packets of 1350 bytes. */
const MESSAGE_BYTES_MAX = 65_507;
/** What a round trip of a fast connection contains. The default of most systems is 208 KiB. */
const BUFFER_BYTES = 4 << 20;

/** Options of `BatchIo.bind`. */
export interface BatchIoOptions {
  readonly hostname: string;
  readonly port?: number | undefined;
  /** The size of both buffers of the socket. Default 4 MiB. */
  readonly bufferBytes?: number | undefined;
  /** The ECN field of all packets. Default 0, since quiche does not validate ECN. */
  readonly ecn?: Ecn | undefined;
  /** Whether to use GSO and GRO. Default true. */
  readonly offload?: boolean | undefined;
  /** The maximum length of the UDP payloads that are sent. Default `PACKET_BYTES_MAX`. */
  readonly packetBytesMax?: number | undefined;
}

/** Views of the datagrams of one message, which are the same while its stride is. */
interface Views {
  stride: number;
  readonly views: Uint8Array[];
}

/** A UDP socket that receives and sends batches. */
export class BatchIo implements PacketIo {
  readonly socket: UdpSocket;
  readonly packetBytesMax: number;
  readonly #isWildcard: boolean;
  readonly #received = new RecvBatch();
  readonly #meta = new RecvMeta();
  readonly #views: Views[] = [];
  readonly #out: SendBatch;
  readonly #arena: Uint8Array;
  readonly #slots: readonly Uint8Array[];
  readonly #ecn: Ecn | undefined;
  /** The path whose metadata the next packets have. */
  #path: Path | undefined;
  #next = 0;
  #isBlocked = false;
  #receiver: PacketReceiver | undefined;

  private constructor(socket: UdpSocket, ecn: Ecn | undefined, packetBytesMax: number) {
    this.socket = socket;
    this.packetBytesMax = packetBytesMax;
    const slots = MESSAGES * Math.floor(MESSAGE_BYTES_MAX / packetBytesMax);
    this.#out = new SendBatch({ datagrams: slots, prefixBytes: 0 });
    this.#arena = new Uint8Array(new ArrayBuffer(slots * packetBytesMax));
    this.#slots = Array.from({ length: slots }, (_, i) =>
      this.#arena.subarray(i * packetBytesMax, (i + 1) * packetBytesMax),
    );
    this.#ecn = ecn;
    this.#isWildcard = ["0.0.0.0", "::"].includes(socket.localAddr.address);
    socket.enableMetadata({ ecn: true, destination: this.#isWildcard });
  }

  /**
   * Binds a socket. It never fragments, and ignores the path MTU that the kernel has learned, as RFC
   * 9000 section 14 requires. Packets that the system refuses are lost packets for quiche.
   */
  static async bind(options: BatchIoOptions): Promise<BatchIo> {
    const { hostname, port = 0, bufferBytes = BUFFER_BYTES, ecn, offload = true } = options;
    const { packetBytesMax = PACKET_BYTES_MAX } = options;
    const socket = await UdpSocket.bind({
      hostname,
      port,
      offload,
      receiveBufferBytes: bufferBytes,
      sendBufferBytes: bufferBytes,
      pathMtuDiscovery: "probe",
      sendErrors: "drop",
    });
    return new BatchIo(socket, ecn, packetBytesMax);
  }

  get localAddr(): SocketAddress {
    return this.socket.localAddr;
  }

  start(receiver: PacketReceiver): void {
    this.#receiver = receiver;
    void this.#receive(receiver);
  }

  slot(): Uint8Array | undefined {
    return this.#isBlocked ? undefined : this.#slots[this.#next];
  }

  push(length: number, path: Path): void {
    if (path !== this.#path) {
      this.#path = path;
      const source = this.#isWildcard ? path.local : undefined;
      const isDefault = source === undefined && this.#ecn === undefined;
      this.#out.meta(isDefault ? undefined : { source, ecn: this.#ecn });
    }
    this.#out.pushSlice(this.#arena, this.#next++ * this.packetBytesMax, length, path.peer);
  }

  flush(): boolean {
    if (this.#isBlocked) return false;
    while (this.#out.length > 0) {
      if (this.socket.isClosed) {
        this.#out.clear();
        break;
      }
      if (this.socket.trySendBatch(this.#out) !== WouldBlock) continue;
      this.#isBlocked = true;
      void this.#unblock();
      return false;
    }
    this.#next = 0;
    return true;
  }

  close(): void {
    this.socket.close();
  }

  async #receive(receiver: PacketReceiver): Promise<void> {
    for (;;) {
      try {
        await this.socket.recvBatch(this.#received);
      } catch (error) {
        if (isClosedError(error)) return;
        throw error;
      }
      this.#deliver(receiver);
      receiver.afterReceive();
    }
  }

  #deliver(receiver: PacketReceiver): void {
    const batch = this.#received;
    let local = this.socket.localAddr;
    for (let i = 0, first = 0, message = -1; i < batch.length; i++) {
      const m = batch.messageAt(i);
      if (m !== message) {
        batch.metaAt(i, this.#meta);
        if (this.#isWildcard) local = this.#meta.destination ?? local;
        message = m;
        first = i;
      }
      const { peer, ecn } = this.#meta;
      if (peer !== undefined) receiver.receive(this.#viewOf(i, m, i - first), local, peer, ecn);
    }
  }

  /** Returns a view of datagram `i`, which is datagram `k` of message `m`. */
  #viewOf(i: number, m: number, k: number): Uint8Array {
    const batch = this.#received;
    const stride = batch.strideAt(m);
    if (batch.lengthAt(i) !== stride) return batch.payload(i);
    this.#views[m] ??= { stride, views: [] };
    const cached = this.#views[m];
    if (cached.stride !== stride) {
      cached.stride = stride;
      cached.views.length = 0;
    }
    cached.views[k] ??= batch.payload(i);
    return cached.views[k];
  }

  /** Sends the queued packets when the send buffer has room. */
  async #unblock(): Promise<void> {
    try {
      await this.socket.sendBatch(this.#out);
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      this.#out.clear();
    }
    this.#next = 0;
    this.#isBlocked = false;
    this.#receiver?.onWritable();
  }
}
