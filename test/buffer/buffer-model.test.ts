/**
 * Model test of `DgramBuffer`: random sequences of operations are applied to a buffer and to a
 * model of two plain arrays, and must have the same results, errors and state.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { DgramBuffer } from "../../lib/buffer/buffer.ts";

const SEQUENCES = 6000;
const STEPS_MAX = 20;

interface Model {
  headroom: number[];
  payload: number[];
}

/** An operation on the buffer and on the model. Both functions return its result. */
interface Step {
  name: string;
  real(buffer: DgramBuffer): unknown;
  model(model: Model): unknown;
}

/** The result of an operation that throws a `RangeError`. */
const THROWS = "throws";

/** Returns the low `count` bytes of an integer, big-endian. */
function bigEndian(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, i) =>
    Number((value >> BigInt(8 * (count - 1 - i))) & 255n),
  );
}

function modelVarint(value: bigint): number[] {
  const exponent = [6n, 14n, 30n, 62n].findIndex((bits) => value < 1n << bits);
  const bytes = bigEndian(value, 1 << exponent);
  bytes[0] = (bytes[0] ?? 0) | (exponent << 6);
  return bytes;
}

function addPrefix(model: Model, prefix: number[]): boolean {
  if (prefix.length > model.headroom.length) return false;
  model.headroom.length -= prefix.length;
  model.payload.unshift(...prefix);
  return true;
}

function advance(model: Model, count: number): unknown {
  if (count > model.payload.length) return THROWS;
  model.headroom.push(...model.payload.splice(0, count));
  return undefined;
}

function readVarint(model: Model): unknown {
  const length = 1 << ((model.payload[0] ?? 0) >> 6);
  if (length > model.payload.length) return THROWS;
  const bytes = model.payload.slice(0, length);
  bytes[0] = (bytes[0] ?? 0) & 63;
  advance(model, length);
  return bytes.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
}

const bytes = (maxLength: number) =>
  fc.array(fc.integer({ min: 0, max: 255 }), { maxLength, size: "max" });
const count = fc.oneof({ weight: 8, arbitrary: fc.nat(12) }, fc.nat(200));
const varint = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 62n - 1n }), fc.nat(62))
  .map(([value, shift]) => value >> BigInt(shift));

/** Returns the bytes as a view with a non-zero `byteOffset`. */
function offsetView(values: number[]): Uint8Array {
  return Uint8Array.from([9, 9, 9, ...values, 9]).subarray(3, 3 + values.length);
}

/** Returns the value as a `number` if it is a safe integer. */
function asNumberIfSafe(value: bigint): number | bigint {
  return BigInt.asIntN(54, value) === value ? Number(value) : value;
}

function step(name: string, real: Step["real"], model: Step["model"]): Step {
  return { name, real, model };
}

/** Operations that change the headroom or the bounds of the payload. */
const frontSteps = [
  count.map((n) =>
    step(
      `advance ${n}`,
      (b) => b.advance(n),
      (m) => advance(m, n),
    ),
  ),
  count.map((n) =>
    step(
      `truncate ${n}`,
      (b) => b.truncate(n),
      (m) => void m.payload.splice(n),
    ),
  ),
  bytes(40).map((p) =>
    step(
      `prefix ${p}`,
      (b) => b.tryAddPrefix(offsetView(p)),
      (m) => addPrefix(m, p),
    ),
  ),
  varint.map((v) =>
    step(
      `varint prefix ${v}`,
      (b) => b.tryAddVarintPrefix(asNumberIfSafe(v)),
      (m) => addPrefix(m, modelVarint(v)),
    ),
  ),
  fc.constant(step("read varint", (b) => BigInt(b.readVarint()), readVarint)),
  count.map((n) =>
    step(
      `splice ${n}`,
      (b) => b.spliceHeadroom(n),
      (m) => {
        if (n > m.headroom.length) m.headroom = new Array(n).fill(0);
      },
    ),
  ),
  fc.constant(
    step(
      "clear",
      (b) => b.clear(),
      (m) => {
        m.headroom = [];
        m.payload = [];
      },
    ),
  ),
];

/** Operations that append. */
const tailSteps = [
  bytes(60).map((p) =>
    step(
      `put slice ${p}`,
      (b) => b.putSlice(offsetView(p)),
      (m) => void m.payload.push(...p),
    ),
  ),
  bytes(9).map((p) =>
    step(
      `put buffer ${p}`,
      (b) => b.put(DgramBuffer.fromVecWithHeadroom(offsetView([1, ...p]), 1)),
      (m) => void m.payload.push(...p),
    ),
  ),
  fc.constant(
    step(
      "put itself",
      (b) => b.put(b),
      (m) => void m.payload.push(...m.payload.slice(0, 300)),
    ),
  ),
  fc.tuple(fc.integer({ min: 0, max: 255 }), count).map(([value, n]) =>
    step(
      `put ${n} bytes of ${value}`,
      (b) => b.putBytes(value, n),
      (m) => void m.payload.push(...new Array(n).fill(value)),
    ),
  ),
  varint.map((v) =>
    step(
      `put varint ${v}`,
      (b) => b.putVarint(asNumberIfSafe(v)),
      (m) => void m.payload.push(...modelVarint(v)),
    ),
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((v) =>
    step(
      `put integers of ${v}`,
      (b) => {
        b.putU64(asNumberIfSafe(v));
        b.putI64Le(asNumberIfSafe(BigInt.asIntN(64, v)));
        b.putU32Le(Number(v & 0xffff_ffffn));
        b.putI16(Number(BigInt.asIntN(16, v)));
        b.putU8(Number(v & 255n));
      },
      (m) => {
        m.payload.push(...bigEndian(v, 8), ...bigEndian(v, 8).reverse());
        m.payload.push(...bigEndian(v, 4).reverse(), ...bigEndian(v, 2), ...bigEndian(v, 1));
      },
    ),
  ),
];

/** Returns a buffer with the same data, with which the sequence continues. */
type Rebuild = (buffer: DgramBuffer) => DgramBuffer;

const rebuilds: [string, Rebuild][] = [
  ["clone", (b) => b.clone()],
  ["intoParts and fromVecWithHeadroom", (b) => DgramBuffer.fromVecWithHeadroom(...b.intoParts())],
];

function attempt(operation: () => unknown): unknown {
  try {
    return operation();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return THROWS;
  }
}

function expectSameState(buffer: DgramBuffer, { headroom, payload }: Model): void {
  expect(buffer.headroom).toBe(headroom.length);
  expect(buffer.length).toBe(payload.length);
  expect(buffer.isEmpty).toBe(payload.length === 0);
  expect(buffer.capacity - buffer.spareCapacity).toBe(headroom.length + payload.length);
  expect(buffer.asSlice().toHex()).toBe(Uint8Array.from(payload).toHex());
  const data = Uint8Array.from([...headroom, ...payload]);
  expect(buffer.clone().intoParts()[0].toHex()).toBe(data.toHex());
}

test(`DgramBuffer behaves as the model in ${SEQUENCES} random sequences of operations`, () => {
  const steps = fc.array(
    fc.oneof(...frontSteps, ...tailSteps, ...rebuilds.map((rebuild) => fc.constant(rebuild))),
    { maxLength: STEPS_MAX, size: "max" },
  );
  let performed = 0;
  fc.assert(
    fc.property(fc.nat(40), fc.nat(24), steps, (spare, headroom, sequence) => {
      let buffer = DgramBuffer.withCapacityAndHeadroom(headroom + spare, headroom);
      const model: Model = { headroom: new Array(headroom).fill(0), payload: [] };
      for (const each of sequence) {
        if (Array.isArray(each)) buffer = each[1](buffer);
        else if (each.name !== "put itself" || model.payload.length <= 300) {
          const result = attempt(() => each.real(buffer));
          expect({ step: each.name, result }).toEqual({
            step: each.name,
            result: each.model(model),
          });
        }
        expectSameState(buffer, model);
        performed++;
      }
    }),
    { numRuns: SEQUENCES },
  );
  expect(performed).toBeGreaterThan(5 * SEQUENCES);
});
