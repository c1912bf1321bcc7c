/** The checks of arguments, with the errors of Node. */

import { codedRangeError, codedTypeError, describe, invalidArgType } from "./errors.ts";

const BYTES_OR_TEXT = "of type string or an instance of Buffer, TypedArray, or DataView";

/** What can be sent as one datagram. */
export type Message = string | NodeJS.ArrayBufferView;

export function checkString(name: string, value: unknown): asserts value is string {
  if (typeof value !== "string") throw invalidArgType(name, "of type string", value);
}

export function checkNumber(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw invalidArgType(name, "of type number", value);
}

export function checkUint32(name: string, value: unknown): asserts value is number {
  checkNumber(name, value);
  const isInteger = Number.isInteger(value);
  if (isInteger && value >= 0 && value <= 0xffff_ffff) return;
  const range = isInteger ? ">= 0 && <= 4294967295" : "an integer";
  const received = isInteger ? String(value).replace(/\B(?=(\d{3})+$)/g, "_") : value;
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${received}`;
  throw codedRangeError("ERR_OUT_OF_RANGE", message);
}

export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw invalidArgType(name, "of type function", value);
}

export function checkSignal(name: string, value: unknown): asserts value is AbortSignal {
  if (typeof value !== "object" || value === null || !("aborted" in value)) {
    throw invalidArgType(name, "an instance of AbortSignal", value);
  }
}

export function checkBlockList(name: string, value: unknown): void {
  if (!value) return;
  const { BlockList } = process.getBuiltinModule("node:net");
  if (!(value instanceof BlockList))
    throw invalidArgType(name, "an instance of net.BlockList", value);
}

/** Returns the port as a number, 1..65535. */
export function checkPort(port: unknown): number {
  const isText = typeof port === "string" && port.trim() !== "";
  const number = typeof port === "number" || isText ? Number(port) : Number.NaN;
  if (number === number >>> 0 && number > 0 && number <= 0xffff) return number;
  const message = `Port should be > 0 and < 65536. Received ${describe(port)}.`;
  throw codedRangeError("ERR_SOCKET_BAD_PORT", message);
}

/** Returns the bytes of a view, without a copy. */
export function bytesOf(view: NodeJS.ArrayBufferView): Uint8Array {
  if (view instanceof Uint8Array) return view;
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Returns `length` bytes of a message from `offset` on. */
export function sliceMessage(message: unknown, offset: unknown, length: unknown): Uint8Array {
  const bytes = toBytes("buffer", message);
  const start = Number(offset) >>> 0;
  const count = Number(length) >>> 0;
  const outside = start > bytes.byteLength ? "offset" : "length";
  if (start + count > bytes.byteLength) {
    const problem = `"${outside}" is outside of buffer bounds`;
    throw codedRangeError("ERR_BUFFER_OUT_OF_BOUNDS", problem);
  }
  return bytes.subarray(start, start + count);
}

/** Returns the pieces of one datagram: at least one, possibly empty. */
export function toPieces(message: unknown): Uint8Array[] {
  if (!Array.isArray(message)) return [toBytes("buffer", message)];
  if (message.length === 0) return [Buffer.alloc(0)];
  return message.map((piece) => toBytes("buffer list arguments", piece, message));
}

function toBytes(name: string, message: unknown, blamed: unknown = message): Uint8Array {
  if (typeof message === "string") return Buffer.from(message);
  if (!ArrayBuffer.isView(message)) throw invalidArgType(name, BYTES_OR_TEXT, blamed);
  return bytesOf(message as NodeJS.ArrayBufferView);
}

/** @throws TypeError for an address that is neither a string nor absent. */
export function checkLiteral(name: string, address: unknown, family: 4 | 6): void {
  checkString(name, address);
  const { isIP } = process.getBuiltinModule("node:net");
  if (isIP(address) === family) return;
  const received = `Received '${address}'`;
  const message = `The argument '${name}' must be an IPv${family} address. ${received}`;
  throw codedTypeError("ERR_INVALID_ARG_VALUE", message);
}
