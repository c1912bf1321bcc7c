/**
 * `Deno.listenDatagram`, for UDP and Unix datagrams. It has no option for the size of the receive
 * buffer.
 */

import { datagrams, PREFIX, SLOT_BYTES } from "../datagrams.ts";
import type { Listener, Recorder } from "./peer.ts";
import { runPeer } from "./run-peer.ts";

/** The parts of Deno's API that are used here: its types are not published on npm. */
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
  async sink({ recorder }) {
    return receive(Deno.listenDatagram(LOOPBACK), recorder);
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
    return listenerOf(socket);
  },

  async relay({ recorder }, port) {
    const ingress = Deno.listenDatagram(LOOPBACK);
    const egress = Deno.listenDatagram(LOOPBACK);
    const to = { ...LOOPBACK, port };
    const slot = new Uint8Array(PREFIX.length + SLOT_BYTES);
    slot.set(PREFIX);
    const payload = slot.subarray(PREFIX.length);
    void (async () => {
      for (;;) {
        const [data] = await ingress.receive(payload);
        if (recorder.isChecking) recorder.check(data);
        await egress.send(slot.subarray(0, PREFIX.length + data.length), to);
        recorder.count(1);
      }
    })();
    return listenerOf(ingress);
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

  async unixSink(path, recorder) {
    return receive(Deno.listenDatagram({ transport: "unixpacket", path }), recorder);
  },

  async unixSender(path) {
    // Deno cannot open a socket without a path of its own.
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${path}.sender` });
    // Unlike UDP sockets, Unix sockets of Deno accept one send at a time.
    const to: Address = { transport: "unixpacket", path };
    return {
      async send() {
        for (const data of datagrams) await socket.send(data, to);
      },
    };
  },
});

function listenerOf({ addr }: DatagramConn): Listener {
  return { port: addr.port ?? 0 };
}

function receive(socket: DatagramConn, recorder: Recorder): Listener {
  const buffer = new Uint8Array(SLOT_BYTES);
  void (async () => {
    for (;;) {
      const [data] = await socket.receive(buffer);
      if (recorder.isChecking) recorder.check(data);
      recorder.count(1);
    }
  })();
  return listenerOf(socket);
}
