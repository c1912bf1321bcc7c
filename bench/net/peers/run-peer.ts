/**
 * The process of a peer. It is started with a role, and prints its port and its results as JSON
 * objects, one per line. The contenders in ../reference/ have the same roles.
 *
 *     sink SECONDS RECEIVE_BYTES [SOCKETS]             receives and discards
 *     drain LAPS RECEIVE_BYTES DATAGRAMS               the same, from a queue filled before
 *     relay SECONDS RECEIVE_BYTES PORT                 receives, prepends the prefix, sends to PORT
 *     relay-drain LAPS RECEIVE_BYTES DATAGRAMS PORT    the same, from a queue filled before
 *     send SECONDS PORT...                             sends to one port, connected, or to many
 *     echo RECEIVE_BYTES                               sends everything back until it is killed
 *     start RECEIVE_BYTES                              receives one datagram
 *     unix-sink SECONDS PATH                           receives and discards
 *     unix-send SECONDS PATH                           sends, also after the measurement
 *
 * RECEIVE_BYTES is the receive buffer size to request from the kernel, 0 for the default.
 */

import process from "node:process";
import {
  type Listen,
  measureDrain,
  measureFor,
  measureSend,
  measureStart,
  print,
} from "./meter.ts";
import type { Peer } from "./peer.ts";

/** Runs `peer` in the role that the command line names. */
export async function runPeer(peer: Peer): Promise<void> {
  const [role = "", ...parameters] = process.argv.slice(2);
  const numbers = parameters.map(Number);
  const [first = 0, receiveBytes = 0, third] = numbers;
  const path = parameters[1] as string;
  const bufferBytes = (bytes: number) => (bytes === 0 ? undefined : bytes);
  const listen: Listen = (recorder) =>
    supported(peer.sink)({ recorder, receiveBufferBytes: bufferBytes(receiveBytes) });
  const listenToRelay: Listen = (recorder) =>
    supported(peer.relay)(
      { recorder, receiveBufferBytes: bufferBytes(receiveBytes) },
      numbers.at(-1) as number,
    );
  switch (role) {
    case "sink":
      return measureFor(first, listen, third);
    case "relay":
      return measureFor(first, listenToRelay);
    case "drain":
      return measureDrain(first, third as number, listen);
    case "relay-drain":
      return measureDrain(first, third as number, listenToRelay);
    case "send":
      return measureSend(first, await supported(peer.sender)(numbers.slice(1)));
    case "echo":
      return print({
        port: (await supported(peer.echo)({ receiveBufferBytes: bufferBytes(first) })).port,
      });
    case "start":
      return measureStart((recorder) =>
        supported(peer.sink)({ recorder, receiveBufferBytes: bufferBytes(first) }),
      );
    case "unix-sink":
      return measureFor(first, (recorder) => supported(peer.unixSink)(path, recorder));
    case "unix-send":
      return measureSend(first, await supported(peer.unixSender)(path), { continues: true });
    default:
      throw new Error(`"role" expected one of those of run-peer.ts, got ${JSON.stringify(role)}`);
  }
}

function supported<Role>(role: Role | undefined): Role {
  if (role === undefined) throw new Error("this peer does not support the role");
  return role;
}
