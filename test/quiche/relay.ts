/** A relay for tests of QUIC connections. */

import { RecvBatch, SendBatch, type SocketAddress, UdpSocket } from "../../lib/index.ts";

/** A NAT between one client and a server, which can choose another port, and can drop datagrams. */
export class Relay implements AsyncDisposable {
  dropped = 0;
  /** Whether all datagrams are dropped. */
  isDown = false;
  /** Called for each datagram. */
  onDatagram: ((bytes: Uint8Array) => void) | undefined;
  readonly #inside: UdpSocket;
  #outside: UdpSocket;
  readonly #server: SocketAddress;
  readonly #dropEach: number;
  #client: SocketAddress | undefined;
  #forwarded = 0;

  private constructor(inside: UdpSocket, outside: UdpSocket, server: SocketAddress, drop: number) {
    this.#inside = inside;
    this.#outside = outside;
    this.#server = server;
    this.#dropEach = drop;
    void this.#forward(inside);
    void this.#forward(outside);
  }

  static async open(
    server: SocketAddress,
    { dropEach = 0 }: { readonly dropEach?: number } = {},
  ): Promise<Relay> {
    const [inside, outside] = [await openSocket(), await openSocket()];
    return new Relay(inside, outside, server, dropEach);
  }

  get address(): SocketAddress {
    return this.#inside.localAddr;
  }

  async rebind(): Promise<void> {
    this.#outside.close();
    this.#outside = await openSocket();
    void this.#forward(this.#outside);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#inside.close();
    this.#outside.close();
  }

  async #forward(from: UdpSocket): Promise<void> {
    const batch = new RecvBatch();
    const out = new SendBatch({ datagrams: 1024 });
    try {
      for (;;) {
        await from.recvBatch(batch);
        const isToServer = from === this.#inside;
        if (isToServer) this.#client = batch.peerAt(0);
        for (let i = 0; i < batch.length; i++) {
          const isChosen = this.#dropEach > 0 && ++this.#forwarded % this.#dropEach === 0;
          if (this.isDown || isChosen) {
            this.dropped++;
            continue;
          }
          this.onDatagram?.(batch.payload(i));
          if (out.isFull) await this.#send(isToServer, out);
          const to = isToServer ? this.#server : this.#client;
          out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i), to);
        }
        await this.#send(isToServer, out);
      }
    } catch (error) {
      if (!from.isClosed && !this.#inside.isClosed) throw error;
    }
  }

  async #send(isToServer: boolean, out: SendBatch): Promise<void> {
    await (isToServer ? this.#outside : this.#inside).sendBatch(out);
  }
}

function openSocket(): Promise<UdpSocket> {
  return UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
}
