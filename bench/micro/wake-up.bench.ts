/**
 * From sending to whoever waits for the datagram, in one process: the receiver has been idle for a
 * while. Sending is part of the time, for all alike.
 */

import { UnixDatagram } from "../../lib/index.ts";
import type { Comparison, SelfTimedWay } from "./comparison.ts";
import { connectedPair } from "./loopback.ts";

/** Long enough for a socket to have nothing to do any more. */
const GAP_MS = 2;
/** Without a gap, until all is compiled: an idle socket would take very long to get there. */
const WARM_UP_TRIPS = 3000;
const DATAGRAM = new Uint8Array(new ArrayBuffer(100));
const TARGET = new Uint8Array(new ArrayBuffer(DATAGRAM.length));

/** Two ends of a line. */
interface Line {
  receive(): Promise<unknown>;
  send(): unknown;
}

async function wayOf(name: string, { receive, send }: Line): Promise<SelfTimedWay> {
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

async function bunLine(): Promise<Line> {
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

async function udpLine(): Promise<Line> {
  const { receiver, sender } = await connectedPair();
  return { receive: () => receiver.recv(TARGET), send: () => sender.trySend(DATAGRAM) };
}

async function unixLine(): Promise<Line> {
  const [left, right] = await UnixDatagram.pair();
  return { receive: () => right.recv(TARGET), send: () => left.trySend(DATAGRAM) };
}

export const comparisons: readonly Comparison[] = [
  {
    scenario: "wake-up of an idle socket",
    parameters: {},
    ways: [
      await wayOf("Bun.udpSocket: send to an awaited data callback", await bunLine()),
      await wayOf("UdpSocket: trySend to the awaited recv", await udpLine()),
      await wayOf("UnixDatagram: trySend to the awaited recv", await unixLine()),
    ],
  },
];
