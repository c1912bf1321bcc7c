/**
 * Replays what the Rust crate's `DgramBuffer` did, step by step, and compares the whole state.
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

/** The buffer under test; constructors put a new one in place. */
interface Slot {
  buffer: DgramBuffer;
}

type Op = (slot: Slot, args: Arguments) => boolean | string | undefined;

/** The arguments of a step, each read as what the operation takes. */
class Arguments {
  readonly #values: (number | string)[];

  constructor(values: (number | string)[]) {
    this.#values = values;
  }

  number(index: number): number {
    const value = this.#values[index];
    if (typeof value !== "number") throw new TypeError(`argument ${index} is no number`);
    return value;
  }

  bytes(index: number): Uint8Array {
    const value = this.#values[index];
    if (typeof value !== "string") throw new TypeError(`argument ${index} is no string`);
    return Uint8Array.fromHex(value);
  }

  integer(index: number): bigint {
    return BigInt(this.#values[index] as string);
  }
}

/** What the crate's indexing does and a `Uint8Array` does not: refuse a byte that is not there. */
function writeFirst(buffer: DgramBuffer, value: number): void {
  if (buffer.isEmpty) throw new RangeError("no first byte");
  buffer.asMutSlice()[0] = value;
}

/** An operation that answers nothing. */
function doing(run: (buffer: DgramBuffer, args: Arguments) => void): Op {
  return ({ buffer }, args) => {
    run(buffer, args);
    return undefined;
  };
}

/** A constructor. */
function making(make: (args: Arguments) => DgramBuffer): Op {
  return (slot, args) => {
    slot.buffer = make(args);
    return undefined;
  };
}

const OPS: Record<string, Op> = {
  new: making(() => new DgramBuffer()),
  default: making(() => new DgramBuffer()),
  from_slice: making((args) => DgramBuffer.fromSlice(args.bytes(0))),
  from_vec: making((args) => DgramBuffer.from(args.bytes(0))),
  from_vec_with_headroom: making((args) =>
    DgramBuffer.fromVecWithHeadroom(args.bytes(0), args.number(1)),
  ),
  with_capacity: making((args) => DgramBuffer.withCapacity(args.number(0))),
  with_capacity_and_headroom: making((args) =>
    DgramBuffer.withCapacityAndHeadroom(args.number(0), args.number(1)),
  ),
  truncate: doing((buffer, args) => buffer.truncate(args.number(0))),
  advance: doing((buffer, args) => buffer.advance(args.number(0))),
  splice_headroom: doing((buffer, args) => buffer.spliceHeadroom(args.number(0))),
  clear: doing((buffer) => buffer.clear()),
  put: doing((buffer, args) => buffer.put(DgramBuffer.from(args.bytes(0)))),
  put_slice: doing((buffer, args) => buffer.putSlice(args.bytes(0))),
  put_bytes: doing((buffer, args) => buffer.putBytes(args.number(0), args.number(1))),
  put_u8: doing((buffer, args) => buffer.putU8(args.number(0))),
  put_u16: doing((buffer, args) => buffer.putU16(args.number(0))),
  put_u16_le: doing((buffer, args) => buffer.putU16Le(args.number(0))),
  put_u32: doing((buffer, args) => buffer.putU32(args.number(0))),
  put_u32_le: doing((buffer, args) => buffer.putU32Le(args.number(0))),
  put_u64: doing((buffer, args) => buffer.putU64(args.integer(0))),
  put_u64_le: doing((buffer, args) => buffer.putU64Le(args.integer(0))),
  mut0: doing((buffer, args) => writeFirst(buffer, args.number(0))),
  remaining_mut: doing(() => {}),
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

/** What one step came to, in the words of the recording. */
function perform(slot: Slot, step: Step): Pick<Step, "result" | "out"> {
  const op = OPS[step.op];
  if (op === undefined) throw new Error(`unknown operation ${step.op}`);
  try {
    const answer = op(slot, new Arguments(step.args));
    if (answer === false) return { result: "err" };
    return typeof answer === "string" ? { result: "ok", out: answer } : { result: "ok" };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { result: "panic" };
  }
}

/** The state of a buffer in the words of the recording. */
function stateOf(buffer: DgramBuffer): Pick<Step, "payload" | "start" | "data"> {
  const [data, start] = buffer.clone().intoParts();
  expect(buffer.headroom).toBe(start);
  expect(buffer.length).toBe(data.length - start);
  return { payload: buffer.asSlice().toHex(), start, data: data.toHex() };
}

test("the recording is whole: 400 sequences, every operation in it and none unused", () => {
  const used = new Set(sequences.flat().map((step) => step.op));
  expect(sequences.length).toBe(400);
  expect(sequences.flat().length).toBe(5882);
  expect([...used].sort()).toEqual(Object.keys(OPS).sort());
});

test("an operation that is not known fails the replay", () => {
  const step: Step = { op: "shrink", args: [], result: "ok", payload: "", start: 0, data: "" };
  expect(() => perform({ buffer: new DgramBuffer() }, step)).toThrow("unknown operation shrink");
});

test("every sequence leaves the state and the answers that the crate left", () => {
  for (const [line, steps] of sequences.entries()) {
    const slot: Slot = { buffer: new DgramBuffer() };
    for (const [index, step] of steps.entries()) {
      const { op, args, out, ...expected } = step;
      const { result, out: answer } = perform(slot, step);
      const where = `line ${line + 1}, step ${index + 1}: ${op}(${args})`;
      expect({ where, result, ...stateOf(slot.buffer) }).toEqual({ where, ...expected });
      if (op !== "remaining_mut") expect({ where, out: answer }).toEqual({ where, out });
    }
  }
});
