/**
 * The time from sending a datagram until an idle receiver in the same process is resumed. Includes
 * the time of the send call.
 */

import { UnixDatagram } from "../../lib/index.ts";
import type { Comparison, SelfTimedVariant } from "./comparison.ts";
import { connectedPair } from "./loopback.ts";

/** Long enough for a receiver to stop spinning, so that epoll wakes it. */
const GAP_MS = 2;
/** Round trips without a gap before the measurement, until the code is compiled. */
const WARM_UP_TRIPS = 3000;
const DATAGRAM = new Uint8Array(new ArrayBuffer(100));
const TARGET = new Uint8Array(new ArrayBuffer(DATAGRAM.length));

/** A sender, and the receiver of what it sends. */
interface Channel {
  receive(): Promise<unknown>;
  send(): unknown;
}

async function variantOf(name: string, { receive, send }: Channel): Promise<SelfTimedVariant> {
  for (let i = 0; i < WARM_UP_TRIPS; i++) {
    const received = receive();
    send();
    await received;
  }
  return {
    name,
    async runTimed() {
      const received = receive();
      await Bun.sleep(GAP_MS);
      const start = Bun.nanoseconds();
      send();
      await received;
      return Bun.nanoseconds() - start;
    },
  };
}

async function bunChannel(): Promise<Channel> {
  let wake = () => {};
  const hostname = "127.0.0.1";
  const receiver = await Bun.udpSocket({ hostname, socket: { data: () => wake() } });
  const sender = await Bun.udpSocket({ hostname, connect: { hostname, port: receiver.port } });
  return {
    receive: () =>
      new Promise<void>((resolve) => {
        wake = resolve;
      }),
    send: () => sender.send(DATAGRAM),
  };
}

async function udpChannel(): Promise<Channel> {
  const { receiver, sender } = await connectedPair();
  return { receive: () => receiver.recv(TARGET), send: () => sender.trySend(DATAGRAM) };
}

async function unixChannel(): Promise<Channel> {
  const [left, right] = await UnixDatagram.pair();
  return { receive: () => right.recv(TARGET), send: () => left.trySend(DATAGRAM) };
}

export const comparisons: readonly Comparison[] = [
  {
    scenario: "wake-up of an idle socket",
    parameters: {},
    variants: [
      await variantOf("Bun.udpSocket: send to an awaited data callback", await bunChannel()),
      await variantOf("UdpSocket: trySend to the awaited recv", await udpChannel()),
      await variantOf("UnixDatagram: trySend to the awaited recv", await unixChannel()),
    ],
  },
];
