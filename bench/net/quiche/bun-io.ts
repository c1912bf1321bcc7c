/** The socket of the QUIC driver with `Bun.udpSocket` in place of this library. */

import {
  PACKET_BYTES_MAX,
  type PacketIo,
  type PacketReceiver,
} from "../../../examples/quiche/packet-io.ts";
import type { Path } from "../../../examples/quiche/path.ts";
import { SocketAddress, UdpSocket } from "../../../lib/index.ts";

/** As many as `sendMany` of Bun sends without losing count: it fails above 204. */
const SLOTS = 192;

/** A UDP socket of Bun, which receives by callbacks and sends by `sendMany`. */
export class BunIo implements PacketIo {
  readonly packetBytesMax: number = PACKET_BYTES_MAX;
  readonly localAddr: SocketAddress;
  readonly #socket: Bun.udp.Socket<"uint8array">;
  readonly #slots = Array.from(
    { length: SLOTS },
    () => new Uint8Array(new ArrayBuffer(PACKET_BYTES_MAX)),
  );
  /** The triples of `sendMany`: bytes, port, address. */
  #packets: (Uint8Array | number | string)[] = [];
  #next = 0;
  #isBlocked = false;
  #isScheduled = false;
  #receiver: PacketReceiver | undefined;
  /** The peer of the latest datagram: nearly always that of the next. */
  #peer: SocketAddress;

  private constructor(socket: Bun.udp.Socket<"uint8array">, address: SocketAddress) {
    this.#socket = socket;
    this.localAddr = this.#peer = address;
  }

  /** Binds a socket with the options of `BatchIo`, which Bun's socket has no options for. */
  static async bind(hostname: string, bufferBytes: number): Promise<BunIo> {
    const bound = await UdpSocket.bind({
      hostname,
      receiveBufferBytes: bufferBytes,
      sendBufferBytes: bufferBytes,
      pathMtuDiscovery: "probe",
      offload: false,
    });
    const address = bound.localAddr;
    let io: BunIo | undefined;
    // `Bun.udpSocket` accepts a descriptor, which its types do not declare.
    const socket = await Bun.udpSocket({
      fd: bound.intoFd(),
      binaryType: "uint8array",
      socket: {
        data: (_socket: unknown, data: Uint8Array, port: number, host: string) =>
          io?.received(data, port, host),
        drain: () => io?.drained(),
      },
    } as object);
    io = new BunIo(socket as unknown as Bun.udp.Socket<"uint8array">, address);
    return io;
  }

  start(receiver: PacketReceiver): void {
    this.#receiver = receiver;
  }

  slot(): Uint8Array | undefined {
    return this.#isBlocked ? undefined : this.#slots[this.#next];
  }

  push(length: number, { info }: Path): void {
    const slot = this.#slots[this.#next++] as Uint8Array;
    const packet = length === PACKET_BYTES_MAX ? slot : slot.subarray(0, length);
    this.#packets.push(packet, info.from.port, info.from.host);
  }

  flush(): boolean {
    if (this.#isBlocked) return false;
    if (this.#next > 0) {
      const sent = this.#socket.sendMany(this.#packets);
      if (sent < this.#next) {
        this.#packets = this.#packets.slice(3 * sent);
        this.#next -= sent;
        this.#isBlocked = true;
        return false;
      }
    }
    this.#packets.length = 0;
    this.#next = 0;
    return true;
  }

  close(): void {
    this.#socket.close();
  }

  received(data: Uint8Array, port: number, address: string): void {
    if (this.#peer.port !== port || this.#peer.address !== address) {
      this.#peer = SocketAddress.ip(address, port);
    }
    this.#receiver?.receive(data, this.localAddr, this.#peer, undefined);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Runs after all callbacks of this wake-up: microtasks would run between two of them.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#receiver?.afterReceive();
    });
  }

  /** Bun calls `drain` when the socket can send again. */
  drained(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    if (this.flush()) this.#receiver?.onWritable();
  }
}
