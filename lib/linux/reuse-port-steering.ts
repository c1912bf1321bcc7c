/**
 * Classic BPF programs that choose a socket of a `reusePort` group (SO_ATTACH_REUSEPORT_CBPF,
 * socket(7)). The kernel loads from the UDP payload, and runs the program for each datagram. A result
 * that is the index of no socket makes it choose by the hash of the addresses.
 */

import type { CheckedSteering } from "../datagram/reuse-port-steering.ts";
import { SocketError } from "../support/errors.ts";
import {
  EINVAL,
  ENOENT,
  SO_ATTACH_REUSEPORT_CBPF,
  SO_DETACH_REUSEPORT_BPF,
  SOL_SOCKET,
} from "./constants.ts";
import type { FdOptions } from "./fd-options.ts";

/** Codes of instructions: <linux/bpf_common.h>, <linux/filter.h>. A is the accumulator. */
const LOAD = { 1: 0x30, 2: 0x28, 4: 0x20 } as const;
const LOAD_LENGTH = 0x80;
const AND = 0x54;
const SHIFT_RIGHT = 0x74;
const MODULO = 0x94;
const SKIP = 0x05;
const IF_AT_LEAST = 0x35;
const IF_ANY_BIT = 0x45;
const RETURN_A = 0x16;
const RETURN = 0x06;

/** `struct sock_filter`: a 16-bit code, two jumps of 8 bits, a 32-bit operand. */
const INSTRUCTION_BYTES = 8;

/** The index of no socket. */
const NO_INDEX = 0xffff_ffff;

/** The target of a jump to the last instruction of a program, which returns `NO_INDEX`. */
const TO_HASH = -1;

interface Instruction {
  readonly code: number;
  readonly operand: number;
  /** The number of instructions to skip if the condition holds. Default 0. */
  readonly ifTrue?: number;
  /** The number of instructions to skip if it does not, or `TO_HASH`. Default 0. */
  readonly ifFalse?: number;
}

/** RFC 8999 section 5: headers of QUIC packets in all versions. */
const LONG_HEADER_BIT = 0x80;
const LONG_ID_LENGTH_OFFSET = 5;
const LONG_ID_OFFSET = 6;
const SHORT_ID_OFFSET = 1;

/** Returns the program for `steering`, as an array of `struct sock_filter`. */
export function steeringProgram(steering: CheckedSteering): Uint8Array<ArrayBuffer> {
  const load = steering.within === "payload" ? loadFromPayload : loadFromConnectionId;
  const { mask, sockets } = steering;
  return encode([
    ...load(steering),
    { code: AND, operand: mask },
    // The lowest bit of the mask becomes bit 0.
    { code: SHIFT_RIGHT, operand: 31 - Math.clz32(mask & -mask) },
    { code: MODULO, operand: sockets },
    { code: RETURN_A, operand: 0 },
    { code: RETURN, operand: NO_INDEX },
  ]);
}

/** Continues if the payload has at least `bytes` bytes. A load beyond its end would return index 0. */
function requireLength(bytes: number): Instruction[] {
  return [
    { code: LOAD_LENGTH, operand: 0 },
    { code: IF_AT_LEAST, operand: bytes, ifFalse: TO_HASH },
  ];
}

function loadField({ bytes }: CheckedSteering, at: number): Instruction {
  return { code: LOAD[bytes], operand: at };
}

function loadFromPayload(steering: CheckedSteering): Instruction[] {
  const { offset, bytes } = steering;
  return [...requireLength(offset + bytes), loadField(steering, offset)];
}

function loadFromConnectionId(steering: CheckedSteering): Instruction[] {
  const { offset, bytes } = steering;
  const idBytesMin = offset + bytes;
  const long: Instruction[] = [
    ...requireLength(LONG_ID_OFFSET + idBytesMin),
    { code: LOAD[1], operand: LONG_ID_LENGTH_OFFSET },
    { code: IF_AT_LEAST, operand: idBytesMin, ifFalse: TO_HASH },
    loadField(steering, LONG_ID_OFFSET + offset),
    { code: SKIP, operand: 1 },
  ];
  return [
    ...requireLength(SHORT_ID_OFFSET + idBytesMin),
    { code: LOAD[1], operand: 0 },
    { code: IF_ANY_BIT, operand: LONG_HEADER_BIT, ifFalse: long.length },
    ...long,
    loadField(steering, SHORT_ID_OFFSET + offset),
  ];
}

function encode(program: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(program.length * INSTRUCTION_BYTES));
  const view = new DataView(bytes.buffer);
  program.forEach(({ code, operand, ifTrue = 0, ifFalse = 0 }, i) => {
    const at = i * INSTRUCTION_BYTES;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse === TO_HASH ? program.length - 2 - i : ifFalse);
    view.setUint32(at + 4, operand, true);
  });
  return bytes;
}

/** Attaches the program to the group of a socket, in place of an earlier one. */
export function attachSteering(options: FdOptions, steering: CheckedSteering): void {
  try {
    options.setFilter(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, steeringProgram(steering));
  } catch (error) {
    throw explained(error);
  }
}

/** Removes the program of the group of a socket, if it has one. */
export function detachSteering(options: FdOptions): void {
  try {
    options.setInt(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0);
  } catch (error) {
    if (error instanceof SocketError && error.errno === ENOENT) return;
    throw explained(error);
  }
}

/** The kernel fails with EINVAL if the socket has no group. */
function explained(error: unknown): unknown {
  if (!(error instanceof SocketError && error.errno === EINVAL)) return error;
  const detail = "a socket opened with reusePort: true expected, got one that shares no port";
  return new SocketError({ errno: EINVAL, syscall: "setsockopt", detail });
}
