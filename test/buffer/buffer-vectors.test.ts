/**
 * Conformance test of `DgramBuffer`: replays operations recorded from the Rust crate
 * `datagram-socket` (vectors/README.md), and compares result and state after each of them.
 */

import { expect, test } from "bun:test";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";

interface Step {
  op: string;
  args: (number | string)[];
  result: "ok" | "err" | "panic";
  payload: string;
  start: number;
  data: string;
  out?: string;
}

/** The buffer under test. Constructors replace it. */
interface Slot {
  buffer: DgramBuffer;
}

type Op = (slot: Slot, args: Arguments) => boolean | string | undefined;

/** The arguments of a step. The operation chooses the type to read each of them as. */
class Arguments {
  readonly #values: (number | string)[];

  constructor(values: (number | string)[]) {
    this.#values = values;
  }

  number(index: number): number {
    const value = this.#values[index];
    if (typeof value !== "number") throw new TypeError(`argument ${index} is not a number`);
    return value;
  }

  bytes(index: number): Uint8Array {
    const value = this.#values[index];
    if (typeof value !== "string") throw new TypeError(`argument ${index} is not a string`);
    return Uint8Array.fromHex(value);
  }

  integer(index: number): bigint {
    return BigInt(this.#values[index] as string);
  }
}

/** Writes the first payload byte. Throws if there is none, where indexing panics in Rust. */
function writeFirst(buffer: DgramBuffer, value: number): void {
  if (buffer.isEmpty) throw new RangeError("no first byte");
  buffer.asMutSlice()[0] = value;
}

/** Makes an operation without a result. */
function action(run: (buffer: DgramBuffer, args: Arguments) => void): Op {
  return ({ buffer }, args) => {
    run(buffer, args);
    return undefined;
  };
}

/** Makes an operation that replaces the buffer. */
function construct(make: (args: Arguments) => DgramBuffer): Op {
  return (slot, args) => {
    slot.buffer = make(args);
    return undefined;
  };
}

const OPS: Record<string, Op> = {
  new: construct(() => new DgramBuffer()),
  default: construct(() => new DgramBuffer()),
  from_slice: construct((args) => DgramBuffer.fromSlice(args.bytes(0))),
  from_vec: construct((args) => DgramBuffer.from(args.bytes(0))),
  from_vec_with_headroom: construct((args) =>
    DgramBuffer.fromVecWithHeadroom(args.bytes(0), args.number(1)),
  ),
  with_capacity: construct((args) => DgramBuffer.withCapacity(args.number(0))),
  with_capacity_and_headroom: construct((args) =>
    DgramBuffer.withCapacityAndHeadroom(args.number(0), args.number(1)),
  ),
  truncate: action((buffer, args) => buffer.truncate(args.number(0))),
  advance: action((buffer, args) => buffer.advance(args.number(0))),
  splice_headroom: action((buffer, args) => buffer.spliceHeadroom(args.number(0))),
  clear: action((buffer) => buffer.clear()),
  put: action((buffer, args) => buffer.put(DgramBuffer.from(args.bytes(0)))),
  put_slice: action((buffer, args) => buffer.putSlice(args.bytes(0))),
  put_bytes: action((buffer, args) => buffer.putBytes(args.number(0), args.number(1))),
  put_u8: action((buffer, args) => buffer.putU8(args.number(0))),
  put_u16: action((buffer, args) => buffer.putU16(args.number(0))),
  put_u16_le: action((buffer, args) => buffer.putU16Le(args.number(0))),
  put_u32: action((buffer, args) => buffer.putU32(args.number(0))),
  put_u32_le: action((buffer, args) => buffer.putU32Le(args.number(0))),
  put_u64: action((buffer, args) => buffer.putU64(args.integer(0))),
  put_u64_le: action((buffer, args) => buffer.putU64Le(args.integer(0))),
  mut0: action((buffer, args) => writeFirst(buffer, args.number(0))),
  remaining_mut: action(() => {}),
  try_add_prefix: ({ buffer }, args) => buffer.tryAddPrefix(args.bytes(0)),
  debug: ({ buffer }) => buffer.clone().toString(),
  clone_mut0: ({ buffer }, args) => {
    const clone = buffer.clone();
    writeFirst(clone, args.number(0));
    return clone.asSlice().toHex();
  },
  into_parts: ({ buffer }) => {
    const clone = buffer.clone();
    const [data, start] = clone.intoParts();
    expect([clone.length, clone.headroom, clone.capacity]).toEqual([0, 0, 0]);
    return `${data.toHex()},${start}`;
  },
};

const sequences: Step[][] = (
  await Bun.file(new URL("vectors/dgram-buffer.jsonl", import.meta.url)).text()
)
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line));

/** Performs a step, and returns its outcome in the format of the recording. */
function perform(slot: Slot, step: Step): Pick<Step, "result" | "out"> {
  const op = OPS[step.op];
  if (op === undefined) throw new Error(`unknown operation ${step.op}`);
  try {
    const out = op(slot, new Arguments(step.args));
    if (out === false) return { result: "err" };
    return typeof out === "string" ? { result: "ok", out } : { result: "ok" };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { result: "panic" };
  }
}

/** Returns the state of a buffer in the format of the recording. */
function stateOf(buffer: DgramBuffer): Pick<Step, "payload" | "start" | "data"> {
  const [data, start] = buffer.clone().intoParts();
  expect(buffer.headroom).toBe(start);
  expect(buffer.length).toBe(data.length - start);
  return { payload: buffer.asSlice().toHex(), start, data: data.toHex() };
}

test("the recording has 400 sequences with exactly the operations that the replay knows", () => {
  const used = new Set(sequences.flat().map((step) => step.op));
  expect(sequences.length).toBe(400);
  expect(sequences.flat().length).toBe(5882);
  expect([...used].sort()).toEqual(Object.keys(OPS).sort());
});

test("the replay rejects an unknown operation with an Error", () => {
  const step: Step = { op: "shrink", args: [], result: "ok", payload: "", start: 0, data: "" };
  expect(() => perform({ buffer: new DgramBuffer() }, step)).toThrow("unknown operation shrink");
});

test("DgramBuffer has the recorded result and state of the Rust crate after every step", () => {
  for (const [line, steps] of sequences.entries()) {
    const slot: Slot = { buffer: new DgramBuffer() };
    for (const [index, step] of steps.entries()) {
      const { op, args, out, ...expected } = step;
      const { result, out: actualOut } = perform(slot, step);
      const where = `line ${line + 1}, step ${index + 1}: ${op}(${args})`;
      expect({ where, result, ...stateOf(slot.buffer) }).toEqual({ where, ...expected });
      if (op !== "remaining_mut") expect({ where, out: actualOut }).toEqual({ where, out });
    }
  }
});
