/** Probes of GSO and GRO: datagrams pass through a pair of sockets that use them. */

import type { Native } from "../../ffi/native.ts";
import { UdpSocket } from "../sockets/udp.ts";
import { readVariable } from "../support/environment.ts";
import { errnoCode } from "../support/errors.ts";
import { errorText, RECEIVE_LIMIT_MS } from "./probe.ts";
import type { Finding, Report } from "./report.ts";

const DATAGRAMS = 32;
const PAYLOAD_BYTES = 1200;

/** Probes the offloads with each of `hostnames`. Returns the first failure, if there is one. */
export async function probeOffload(
  native: Native,
  hostnames: readonly string[],
): Promise<Report["offload"]> {
  let result: Report["offload"] | undefined;
  for (const hostname of hostnames) {
    const offload = await transfer(native, hostname).catch((error) => {
      const failure = { works: false, detail: `${hostname}: ${errorText(error)}` };
      return { gso: failure, gro: failure };
    });
    if (!offload.gso.works || !offload.gro.works) return offload;
    result ??= offload;
  }
  return result as Report["offload"];
}

/** Sends datagrams with GSO to a socket with GRO, and checks what arrives. */
async function transfer(native: Native, hostname: string): Promise<Report["offload"]> {
  using receiver = await UdpSocket.bind({ hostname });
  using sender = await UdpSocket.connect({ hostname, port: receiver.localAddr.port });
  const payloads = Array.from({ length: DATAGRAMS }, (_, i) => {
    return new Uint8Array(PAYLOAD_BYTES).fill(i);
  });
  await sender.sendMany(payloads);
  const buffers = payloads.map(() => new Uint8Array(PAYLOAD_BYTES + 1));
  const signal = AbortSignal.timeout(RECEIVE_LIMIT_MS);
  for (let count = 0; count < DATAGRAMS; ) {
    const { length, peer } = await receiver.recvFrom(buffers[count] as Uint8Array, { signal });
    const expected = payloads[count] as Uint8Array;
    const received = (buffers[count] as Uint8Array).subarray(0, length);
    if (Buffer.compare(received, expected) !== 0 || !peer?.equals(sender.localAddr)) {
      throw new Error(`datagram ${count} was altered`);
    }
    count++;
  }
  const { messagesSent } = sender.counters;
  const { messagesReceived } = receiver.counters;
  return {
    gso: describe(native, messagesSent, "sent"),
    gro: describe(native, messagesReceived, "received"),
  };
}

function describe(native: Native, messages: number, verb: string): Finding {
  const plural = messages === 1 ? "message" : "messages";
  const detail = `${DATAGRAMS} datagrams ${verb} as ${messages} ${plural}`;
  if (messages < DATAGRAMS) return { works: true, detail };
  return { works: false, detail: `${detail}: ${reasonAgainst(native)}` };
}

/** Returns why a socket does not use an offload. */
function reasonAgainst(native: Native): string {
  if (readVariable("DATAGRAM_SOCKET_OFFLOAD") === "off") return "DATAGRAM_SOCKET_OFFLOAD is off";
  const probed = native.probeOffload();
  if (probed < 0) return `it cannot be tested: ${errnoCode(-probed)}`;
  return "the kernel does not support it";
}
