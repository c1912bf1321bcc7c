/**
 * What a peer of the network benchmarks does, and the process it does it in: started with a role,
 * it prints where it listens and what it measured. contender.c and unix.c take the same roles.
 *
 *     sink SECONDS RECEIVE_BYTES [SOCKETS]             receives and throws away
 *     drain LAPS RECEIVE_BYTES DATAGRAMS               the same, of a queue that was filled before
 *     relay SECONDS RECEIVE_BYTES PORT                 receives, prefixes, sends to a port
 *     relay-drain LAPS RECEIVE_BYTES DATAGRAMS PORT    the same, of a queue that was filled before
 *     send SECONDS PORT...                             sends to one port, connected, or to many
 *     echo RECEIVE_BYTES                               answers until it is killed
 *     start RECEIVE_BYTES                              receives one datagram
 *     unix-sink SECONDS PATH                           receives and throws away
 *     unix-send SECONDS PATH                           sends, also after it was measured
 *
 * RECEIVE_BYTES are what to ask the kernel for as the receive buffer, 0 for its default.
 */

import process from "node:process";
import { measureDrain, measureFor, measureSend, measureStart, type Open, print } from "./meter.ts";

/** Hears what a peer received or relayed. */
export interface Received {
  /** Whether each datagram, as it came, is to be given to `check` before it is counted. */
  readonly isChecking: boolean;
  check(bytes: Uint8Array): void;
  count(datagrams: number): void;
}

/** How a socket that receives is opened, and whom to tell of what came. */
export interface Ingress {
  /** Bytes of the receive buffer to ask the kernel for; absent: its default. */
  readonly receiveBufferBytes: number | undefined;
  readonly received: Received;
}

/** What receives. */
export interface Opened {
  /** 0 for a Unix socket. */
  readonly port: number;
  /** The system calls so far that received or sent; absent where nobody can know. */
  readonly calls?: () => number;
}

/** What sends. */
export interface Sender {
  /** Sends all of `datagrams`. */
  readonly send: () => Promise<void>;
  readonly calls?: () => number;
}

/** What a peer can do. Each that receives listens on 127.0.0.1 or at a path. */
export interface Peer {
  /** Receives and throws away. */
  sink?(ingress: Ingress): Promise<Opened>;
  /** Sends every datagram back to where it came from. */
  echo?(ingress: Omit<Ingress, "received">): Promise<Opened>;
  /** Sends each datagram with `PREFIX` in front to port `to`, and counts it then. */
  relay?(ingress: Ingress, to: number): Promise<Opened>;
  /** Sends to the only port, connected, or datagram number i to port i. */
  sender?(ports: readonly number[]): Promise<Sender>;
  /** Receives at a path and throws away. */
  unixSink?(path: string, received: Received): Promise<Opened>;
  /** Sends to a path. */
  unixSender?(path: string): Promise<Sender>;
}

/** Runs `peer` in the role that the command line asks for. */
export async function runPeer(peer: Peer): Promise<void> {
  const [role = "", ...rest] = process.argv.slice(2);
  const numbers = rest.map(Number);
  const [first = 0, receiveBytes = 0, third] = numbers;
  const path = rest[1] as string;
  const bufferBytes = (bytes: number) => (bytes === 0 ? undefined : bytes);
  const open: Open = (received) =>
    able(peer.sink)({ received, receiveBufferBytes: bufferBytes(receiveBytes) });
  const openRelay: Open = (received) =>
    able(peer.relay)(
      { received, receiveBufferBytes: bufferBytes(receiveBytes) },
      numbers.at(-1) as number,
    );
  switch (role) {
    case "sink":
      return measureFor(first, open, third);
    case "relay":
      return measureFor(first, openRelay);
    case "drain":
      return measureDrain(first, third as number, open);
    case "relay-drain":
      return measureDrain(first, third as number, openRelay);
    case "send":
      return measureSend(first, await able(peer.sender)(numbers.slice(1)));
    case "echo":
      return print({
        port: (await able(peer.echo)({ receiveBufferBytes: bufferBytes(first) })).port,
      });
    case "start":
      return measureStart((received) =>
        able(peer.sink)({ received, receiveBufferBytes: bufferBytes(first) }),
      );
    case "unix-sink":
      return measureFor(first, (received) => able(peer.unixSink)(path, received));
    case "unix-send":
      return measureSend(first, await able(peer.unixSender)(path), true);
    default:
      throw new Error(`role expected one of those above, got ${JSON.stringify(role)}`);
  }
}

function able<Role>(role: Role | undefined): Role {
  if (role === undefined) throw new Error("this peer does not take that role");
  return role;
}
