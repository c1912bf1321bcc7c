/**
 * From sending to whoever waits for the datagram, in one process: the receiver has been idle, so it
 * is parked and the event loop sleeps. Sending is part of the time, for all alike.
 */

import { UnixDatagram } from "../../lib/index.ts";
import type { Comparison, SelfTimedWay } from "./comparison.ts";
import { connectedPair } from "./loopback.ts";

/** Long enough for a socket to be parked. */
const GAP_MS = 2;
const DATAGRAM = new Uint8Array(new ArrayBuffer(100));

async function unixWay(): Promise<SelfTimedWay> {
  const [left, right] = await UnixDatagram.pair();
  const target = new Uint8Array(new ArrayBuffer(DATAGRAM.length));
  return {
    name: "UnixDatagram: trySend to the awaited recv",
    async runTimed() {
      const received = right.recv(target);
      await Bun.sleep(GAP_MS);
      const start = Bun.nanoseconds();
      left.trySend(DATAGRAM);
      await received;
      return Bun.nanoseconds() - start;
    },
  };
}

async function bunWay(): Promise<SelfTimedWay> {
  let wake = () => {};
  const hostname = "127.0.0.1";
  const receiver = await Bun.udpSocket({ hostname, socket: { data: () => wake() } });
  const sender = await Bun.udpSocket({ hostname, connect: { hostname, port: receiver.port } });
  return {
    name: "Bun.udpSocket: send to an awaited data callback",
    async runTimed() {
      const received = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Bun.sleep(GAP_MS);
      const start = Bun.nanoseconds();
      sender.send(DATAGRAM);
      await received;
      return Bun.nanoseconds() - start;
    },
  };
}

async function udpWay(): Promise<SelfTimedWay> {
  const { receiver, sender } = await connectedPair();
  const target = new Uint8Array(new ArrayBuffer(DATAGRAM.length));
  return {
    name: "UdpSocket: trySend to the awaited recv",
    async runTimed() {
      const received = receiver.recv(target);
      await Bun.sleep(GAP_MS);
      const start = Bun.nanoseconds();
      sender.trySend(DATAGRAM);
      await received;
      return Bun.nanoseconds() - start;
    },
  };
}

export const comparisons: readonly Comparison[] = [
  {
    scenario: "wake-up of an idle socket",
    parameters: {},
    ways: [await bunWay(), await udpWay(), await unixWay()],
  },
];
