/**
 * The protocol between the clients and the Workers, in two forms. A request names its flow, either by
 * a flow ID, or by a connection ID at the places where QUIC packets have it (RFC 8999). A reply says
 * which Worker has answered, and how many requests of the flow that Worker has seen.
 */

import type { ReusePortSteering } from "../../../lib/index.ts";

/** How requests name their flow. */
export type Form = "flow ID" | "connection ID";

/** The length of flow IDs and connection IDs in bytes. */
export const ID_BYTES = 8;
/** The number of a request follows the ID. */
const NUMBER_BYTES = 4;

const LONG_HEADER = 0xc0;
const SHORT_HEADER = 0x40;
const VERSION = 1;
/** Long headers: one byte of flags, four of the version, one of the length of the ID. */
const LONG_ID_OFFSET = 6;
const SHORT_ID_OFFSET = 1;
export const REQUEST_BYTES_MAX: number = LONG_ID_OFFSET + ID_BYTES + NUMBER_BYTES;

/** The settings of the group: the lowest four bytes of a flow ID, or the first of a connection ID. */
export function steeringOf(form: Form, sockets: number): ReusePortSteering {
  return form === "flow ID"
    ? { offset: ID_BYTES - 4, bytes: 4, sockets }
    : { offset: 0, bytes: 1, sockets, within: "quicConnectionId" };
}

export interface Request {
  readonly id: Uint8Array;
  /** The number of the request within its flow, from 1. */
  readonly number: number;
  /** Whether the client has chosen the ID itself: it has not heard of the server yet. */
  readonly isFirst: boolean;
}

export function encodeRequest(form: Form, { id, number, isFirst }: Request): Uint8Array {
  const header = Buffer.alloc(headerBytes(form, isFirst));
  if (form === "connection ID") header[0] = isFirst ? LONG_HEADER : SHORT_HEADER;
  if (header.length === LONG_ID_OFFSET) {
    header.writeUInt32BE(VERSION, 1);
    header[LONG_ID_OFFSET - 1] = ID_BYTES;
  }
  const tail = Buffer.alloc(NUMBER_BYTES);
  tail.writeUInt32BE(number);
  return Buffer.concat([header, id, tail]);
}

export function decodeRequest(form: Form, datagram: Buffer): Request {
  const isFirst = form === "connection ID" && ((datagram[0] ?? 0) & 0x80) !== 0;
  const at = headerBytes(form, isFirst);
  const id = Uint8Array.from(datagram.subarray(at, at + ID_BYTES));
  return { id, number: datagram.readUInt32BE(at + ID_BYTES), isFirst };
}

function headerBytes(form: Form, isFirst: boolean): number {
  if (form === "flow ID") return 0;
  return isFirst ? LONG_ID_OFFSET : SHORT_ID_OFFSET;
}

export interface Reply {
  /** The ID to use from now on. */
  readonly id: Uint8Array;
  readonly number: number;
  /** The index of the Worker. */
  readonly worker: number;
  /** The number of requests of the flow that the Worker has seen. */
  readonly seen: number;
}

export const REPLY_BYTES: number = ID_BYTES + 3 * NUMBER_BYTES;

export function encodeReply({ id, number, worker, seen }: Reply): Uint8Array {
  const reply = Buffer.alloc(REPLY_BYTES);
  reply.set(id);
  reply.writeUInt32BE(number, ID_BYTES);
  reply.writeUInt32BE(worker, ID_BYTES + 4);
  reply.writeUInt32BE(seen, ID_BYTES + 8);
  return reply;
}

export function decodeReply(datagram: Buffer): Reply {
  const id = Uint8Array.from(datagram.subarray(0, ID_BYTES));
  const [number, worker, seen] = [0, 4, 8].map((at) => datagram.readUInt32BE(ID_BYTES + at));
  return { id, number, worker, seen } as Reply;
}

/**
 * Returns a random connection ID that the kernel assigns to a Worker: the remainder of its first byte
 * is the index of the Worker. At most 256 Workers.
 */
export function connectionIdOf(worker: number, workers: number): Uint8Array {
  const id = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  const choices = Math.floor((255 - worker) / workers) + 1;
  id[0] = worker + workers * ((id[0] as number) % choices);
  return id;
}
