/** `Deno.listenDatagram`, for UDP and for Unix datagrams. It has no option for the receive buffer. */

import { datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import { type Opened, type Received, runPeer } from "./peer.ts";

/** What of Deno is used here: its types are not on npm. */
interface Address {
  readonly transport: "udp" | "unixpacket";
  readonly hostname?: string;
  readonly port?: number;
  readonly path?: string;
}
interface DatagramConn {
  readonly addr: Address;
  receive(buffer?: Uint8Array): Promise<[Uint8Array, Address]>;
  send(data: Uint8Array, to: Address): Promise<number>;
}
declare const Deno: { listenDatagram(options: Address): DatagramConn };

const LOOPBACK: Address = { transport: "udp", hostname: "127.0.0.1", port: 0 };

await runPeer({
  async sink({ received }) {
    return receive(Deno.listenDatagram(LOOPBACK), received);
  },

  async echo() {
    const socket = Deno.listenDatagram(LOOPBACK);
    const buffer = new Uint8Array(SLOT_BYTES);
    void (async () => {
      for (;;) {
        const [data, from] = await socket.receive(buffer);
        await socket.send(data, from);
      }
    })();
    return opened(socket);
  },

  async relay({ received }, port) {
    const socket = Deno.listenDatagram(LOOPBACK);
    const out = Deno.listenDatagram(LOOPBACK);
    const to = { ...LOOPBACK, port };
    const slot = new Uint8Array(PREFIX.length + SLOT_BYTES);
    slot.set(PREFIX);
    const behind = slot.subarray(PREFIX.length);
    void (async () => {
      for (;;) {
        const [data] = await socket.receive(behind);
        if (received.isChecking) received.check(data);
        await out.send(slot.subarray(0, PREFIX.length + data.length), to);
        received.count(1);
      }
    })();
    return opened(socket);
  },

  async sender(ports) {
    const to = ports.map((port): Address => ({ ...LOOPBACK, port }));
    const socket = Deno.listenDatagram(LOOPBACK);
    const addressOf = (i: number) => to[i % to.length] as Address;
    return {
      async send() {
        await Promise.all(datagrams.map((data, i) => socket.send(data, addressOf(i))));
      },
    };
  },

  async unixSink(path, received) {
    return receive(Deno.listenDatagram({ transport: "unixpacket", path }), received);
  },

  async unixSender(path) {
    // Without a path of its own, a socket cannot be opened.
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${path}.sender` });
    // Of these, unlike UDP, it takes one send at a time.
    const to: Address = { transport: "unixpacket", path };
    return {
      async send() {
        for (const data of datagrams) await socket.send(data, to);
      },
    };
  },
});

function opened({ addr }: DatagramConn): Opened {
  return { port: addr.port ?? 0 };
}

function receive(socket: DatagramConn, received: Received): Opened {
  const buffer = new Uint8Array(SLOT_BYTES);
  void (async () => {
    for (;;) {
      const [data] = await socket.receive(buffer);
      if (received.isChecking) received.check(data);
      received.count(1);
    }
  })();
  return opened(socket);
}
