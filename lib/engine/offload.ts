/**
 * Which offloads work here, found out by doing: one message of several datagrams is sent over
 * loopback, and must come as they were. `setsockopt` alone says too little, as it may succeed
 * where sending then fails.
 */

import type { Native } from "../../ffi/native.ts";
import { AF_INET, SocketAddress } from "../address/address.ts";
import { RecvBatch } from "../batch/recv-batch.ts";
import { newCounters } from "../datagram/counters.ts";
import { rangeError, typeError } from "../support/check.ts";
import { IPPROTO_UDP, UDP_GRO } from "./options.ts";
import { ShimSender } from "./shim-sender.ts";

/** Which offloads may be used. */
export interface Offload {
  /** Neighbouring datagrams go out as segments of one message (GSO). */
  readonly segmentation: boolean;
  /** Datagrams may come in many to a message (GRO). */
  readonly coalescing: boolean;
}

export const NO_OFFLOAD: Offload = { segmentation: false, coalescing: false };

/** Environment variable that switches offloads off: `off`. */
const OFFLOAD_VARIABLE = "DATAGRAM_SOCKET_OFFLOAD";

/** Three datagrams, the last one shorter. */
const PROBE_BYTES = [100, 100, 40];
const SOCK_DGRAM = 2;

let works: Offload | undefined;

/** What can be asked for: both, neither, or each for itself. */
type AskedOffload = boolean | Partial<Offload> | undefined;

/**
 * What may be used of what is `asked` for (default: all): that which works here. The environment
 * variable is whoever runs the program: it switches off what the program asks for.
 */
export function chooseOffload(native: Native, asked: AskedOffload): Offload {
  const variable = process.env[OFFLOAD_VARIABLE] ?? "";
  if (!["on", "off", ""].includes(variable)) {
    throw rangeError(OFFLOAD_VARIABLE, '"on" or "off"', variable);
  }
  if (variable === "off" || asked === false) return NO_OFFLOAD;
  works ??= probe(native);
  if (asked === undefined || asked === true) return works;
  return {
    segmentation: works.segmentation && asked.segmentation !== false,
    coalescing: works.coalescing && asked.coalescing !== false,
  };
}

/** Checks what was asked for: nothing is switched on by a misspelt "off". */
export function checkOffload(asked: AskedOffload): void {
  if (asked === undefined || typeof asked === "boolean") return;
  if (typeof asked !== "object" || asked === null) {
    throw typeError("offload", "boolean or object", asked);
  }
  for (const [name, value] of Object.entries(asked)) {
    if (name !== "segmentation" && name !== "coalescing") {
      throw rangeError("offload", '"segmentation" and "coalescing" only', name);
    }
    if (value !== undefined && typeof value !== "boolean") {
      throw typeError(`offload.${name}`, "boolean", value);
    }
  }
}

function probe(native: Native): Offload {
  const receiver = native.open(AF_INET, SOCK_DGRAM, 0);
  const sender = native.open(AF_INET, SOCK_DGRAM, 0);
  try {
    const loopback = SocketAddress.ip("127.0.0.1", 0);
    if (native.bind(receiver, loopback._encoded) < 0) return NO_OFFLOAD;
    const length = native.name(receiver);
    if (length < 0) return NO_OFFLOAD;
    const address = SocketAddress._decode(native.scratch, 0, length);
    if (native.connect(sender, address._encoded) < 0) return NO_OFFLOAD;
    const segmentation = passes(native, sender, receiver, PROBE_BYTES.length);
    const coalescing =
      segmentation &&
      native.setIntOption(receiver, IPPROTO_UDP, UDP_GRO, 1) >= 0 &&
      passes(native, sender, receiver, 1);
    return { segmentation, coalescing };
  } finally {
    if (receiver >= 0) native.close(receiver);
    if (sender >= 0) native.close(sender);
  }
}

/** Whether the datagrams go in one message, and come whole in `messages`. */
function passes(native: Native, from: number, to: number, messages: number): boolean {
  const counters = newCounters();
  const init = {
    native,
    fd: from,
    nameCapacity: 28,
    isIPv6: false,
    peer: undefined,
    isSegmenting: true,
    counters,
  };
  const payloads = PROBE_BYTES.map((bytes, i) => new Uint8Array(bytes).fill(i + 1));
  const sent = new ShimSender(init).send(payloads, { start: 0, count: payloads.length }, undefined);
  if (sent !== payloads.length || counters.messagesSent !== 1) return false;
  const batch = new RecvBatch({ messages: payloads.length });
  const source = { native, fd: to, hasControl: true };
  if (batch._receive(source, payloads.length) !== messages) return false;
  return (
    batch.length === payloads.length &&
    payloads.every((payload, i) => Buffer.compare(payload, batch.payload(i)) === 0)
  );
}
