/**
 * What a peer of the network benchmarks does, and the process it does it in: started with a role,
 * it prints where it listens and what it measured. contender.c takes the same roles.
 *
 *     sink SECONDS RECEIVE_BYTES                      receives and throws away
 *     drain LAPS RECEIVE_BYTES MESSAGES               the same, of a queue that was filled before
 *     relay SECONDS RECEIVE_BYTES PORT                receives, prefixes, sends to a port
 *     relay-drain LAPS RECEIVE_BYTES MESSAGES PORT    the same, of a queue that was filled before
 *     send SECONDS PORT...                            sends to one port, connected, or to many
 *     echo                                            answers until it is killed
 *
 * RECEIVE_BYTES are what to ask the kernel for as the receive buffer, 0 for its default.
 */

import { measureDrain, measureFor, measureSend, type Open, print, type Received } from "./meter.ts";

/** How a socket that receives is opened, and whom to tell of what came. */
export interface Ingress {
  /** Bytes of the receive buffer to ask the kernel for; absent: its default. */
  readonly recvBufferBytes: number | undefined;
  readonly received: Received;
}

/** What a peer can do. Each that receives listens on 127.0.0.1 and answers the port. */
export interface Peer {
  /** Receives and throws away. */
  sink?(ingress: Ingress): Promise<number>;
  /** Sends every datagram back to where it came from. */
  echo?(): Promise<number>;
  /** Sends each datagram with `PREFIX` in front to port `to`, and counts it then. */
  relay?(ingress: Ingress, to: number): Promise<number>;
  /** Makes what sends all of `datagrams`: to the only port, connected, or number i to port i. */
  sender?(ports: readonly number[]): Promise<() => Promise<void>>;
}

/** Runs `peer` in the role that the command line asks for. */
export async function runPeer(peer: Peer): Promise<void> {
  const [role = "", ...rest] = process.argv.slice(2);
  const numbers = rest.map(Number);
  const [amount = 0, receiveBytes = 0, messages = 0] = numbers;
  const open: Open = (received) => {
    const ingress = { received, recvBufferBytes: receiveBytes === 0 ? undefined : receiveBytes };
    return role.startsWith("relay")
      ? able(peer.relay)(ingress, numbers.at(-1) as number)
      : able(peer.sink)(ingress);
  };
  if (role === "echo") print({ port: await able(peer.echo)() });
  else if (role === "send") await measureSend(amount, await able(peer.sender)(numbers.slice(1)));
  else if (role.endsWith("drain")) await measureDrain(amount, messages, open);
  else await measureFor(amount, open);
}

function able<Role>(role: Role | undefined): Role {
  if (role === undefined) throw new Error("this peer does not take that role");
  return role;
}
