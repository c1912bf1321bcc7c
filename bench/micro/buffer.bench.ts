/**
 * Every operation of a `DgramBuffer`, with a payload of 1200 bytes where that matters. Ratios are
 * relative to adding a prefix. Fails if a public member has no benchmark.
 */

import { DGRAM_HEADROOM, DgramBuffer } from "../../lib/index.ts";
import { type Comparison, keep, type Variant } from "./comparison.ts";

const PAYLOAD = new Uint8Array(new ArrayBuffer(1300), 100, 1200).fill(7);
const CAPACITY = DGRAM_HEADROOM + PAYLOAD.length;
const PREFIX = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

/** Returns a buffer with headroom, the payload, and spare capacity after it. */
function filled(): DgramBuffer {
  const buffer = DgramBuffer.withCapacityAndHeadroom(CAPACITY + 64, DGRAM_HEADROOM);
  buffer.putSlice(PAYLOAD);
  return buffer;
}

/** Names list the members that are called. Each run restores the buffer, so that it can repeat. */
const prefixVariants: readonly Variant[] = (() => {
  const buffer = filled();
  const spliced = DgramBuffer.withCapacity(CAPACITY);
  spliced.putSlice(PAYLOAD);
  return [
    {
      name: "tryAddPrefix, 8 bytes, advance",
      run() {
        keep(buffer.tryAddPrefix(PREFIX));
        buffer.advance(PREFIX.length);
      },
    },
    {
      name: "tryAddVarintPrefix, 4 bytes, advance",
      run() {
        keep(buffer.tryAddVarintPrefix(1_000_000));
        buffer.advance(4);
      },
    },
    {
      name: "readVarint, 4 bytes, tryAddVarintPrefix",
      run() {
        keep(buffer.tryAddVarintPrefix(1_000_000));
        keep(buffer.readVarint());
      },
    },
    {
      name: "tryReadVarint, 4 bytes, tryAddVarintPrefix",
      run() {
        keep(buffer.tryAddVarintPrefix(1_000_000));
        keep(buffer.tryReadVarint());
      },
    },
    {
      name: "spliceHeadroom, in place, tryAddPrefix, truncate",
      run() {
        spliced.spliceHeadroom(PREFIX.length);
        keep(spliced.tryAddPrefix(PREFIX));
        spliced.truncate(PAYLOAD.length);
      },
    },
    {
      name: "spliceHeadroom, into new memory, fromSlice",
      run: () => DgramBuffer.fromSlice(PAYLOAD).spliceHeadroom(PREFIX.length),
    },
  ];
})();

const creatingVariants: readonly Variant[] = [
  { name: "new DgramBuffer", run: () => keep(new DgramBuffer()) },
  { name: "fromSlice", run: () => keep(DgramBuffer.fromSlice(PAYLOAD)) },
  { name: "withCapacity", run: () => keep(DgramBuffer.withCapacity(CAPACITY)) },
  {
    name: "withCapacityAndHeadroom",
    run: () => keep(DgramBuffer.withCapacityAndHeadroom(CAPACITY, DGRAM_HEADROOM)),
  },
  {
    name: "fromVecWithHeadroom",
    run: () => keep(DgramBuffer.fromVecWithHeadroom(PAYLOAD, DGRAM_HEADROOM)),
  },
  { name: "from", run: () => keep(DgramBuffer.from(PAYLOAD)) },
  (() => {
    const buffer = filled();
    return { name: "clone", run: () => keep(buffer.clone()) };
  })(),
  {
    name: "intoParts, from",
    run: () => keep(DgramBuffer.from(PAYLOAD).intoParts()),
  },
];

const readingVariants: readonly Variant[] = (() => {
  const buffer = filled();
  return [
    { name: "length", run: () => keep(buffer.length) },
    { name: "isEmpty", run: () => keep(buffer.isEmpty) },
    { name: "headroom", run: () => keep(buffer.headroom) },
    { name: "capacity", run: () => keep(buffer.capacity) },
    { name: "spareCapacity", run: () => keep(buffer.spareCapacity) },
    { name: "asSlice, the view that is there", run: () => keep(buffer.asSlice()) },
    { name: "asMutSlice, the view that is there", run: () => keep(buffer.asMutSlice()) },
    {
      name: "asSlice, a new view, tryAddPrefix, advance",
      run() {
        keep(buffer.tryAddPrefix(PREFIX));
        keep(buffer.asSlice());
        buffer.advance(PREFIX.length);
        keep(buffer.asSlice());
      },
    },
    { name: "toString", run: () => keep(buffer.toString()) },
    { name: "toJSON", run: () => keep(buffer.toJSON()) },
  ];
})();

const fillingVariants: readonly Variant[] = (() => {
  const buffer = filled();
  return [
    {
      name: "putSlice, 1200 bytes, reset",
      run() {
        buffer.reset(DGRAM_HEADROOM);
        buffer.putSlice(PAYLOAD);
      },
    },
    {
      name: "putBytes, 1200 bytes, clear",
      run() {
        buffer.clear();
        buffer.putBytes(7, PAYLOAD.length);
      },
    },
    {
      name: "put, 1200 bytes, clear",
      run() {
        buffer.clear();
        buffer.put(PAYLOAD);
      },
    },
    { name: "reset", run: () => buffer.reset(DGRAM_HEADROOM) },
    { name: "clear", run: () => buffer.clear() },
  ];
})();

/** Operations that append an integer. Each run removes it. */
const integerVariants: readonly Variant[] = (() => {
  const buffer = filled();
  const removeInteger = (_appended: unknown) => buffer.truncate(PAYLOAD.length);
  return [
    { name: "putU8, truncate", run: () => removeInteger(buffer.putU8(200)) },
    { name: "putI8, truncate", run: () => removeInteger(buffer.putI8(-100)) },
    { name: "putU16, truncate", run: () => removeInteger(buffer.putU16(60_000)) },
    { name: "putU16Le, truncate", run: () => removeInteger(buffer.putU16Le(60_000)) },
    { name: "putI16, truncate", run: () => removeInteger(buffer.putI16(-30_000)) },
    { name: "putI16Le, truncate", run: () => removeInteger(buffer.putI16Le(-30_000)) },
    { name: "putU32, truncate", run: () => removeInteger(buffer.putU32(4e9)) },
    { name: "putU32Le, truncate", run: () => removeInteger(buffer.putU32Le(4e9)) },
    { name: "putI32, truncate", run: () => removeInteger(buffer.putI32(-2e9)) },
    { name: "putI32Le, truncate", run: () => removeInteger(buffer.putI32Le(-2e9)) },
    { name: "putU64, truncate", run: () => removeInteger(buffer.putU64(2 ** 52)) },
    { name: "putU64Le, truncate", run: () => removeInteger(buffer.putU64Le(2 ** 52)) },
    { name: "putI64, truncate", run: () => removeInteger(buffer.putI64(-(2 ** 52))) },
    { name: "putI64Le, truncate", run: () => removeInteger(buffer.putI64Le(-(2 ** 52))) },
    { name: "putVarint, 4 bytes, truncate", run: () => removeInteger(buffer.putVarint(1_000_000)) },
  ];
})();

const variants = [
  ...prefixVariants,
  ...fillingVariants,
  ...integerVariants,
  ...readingVariants,
  ...creatingVariants,
];

/** Returns the public members of the class and its base class. */
function publicMembers(): string[] {
  const prototypes = [DgramBuffer.prototype, Object.getPrototypeOf(DgramBuffer.prototype)];
  const members = [...prototypes, DgramBuffer].flatMap((object) =>
    Object.getOwnPropertyNames(object).filter((name) => !name.startsWith("_")),
  );
  const builtIn = new Set(["constructor", "prototype", "name"]);
  return members.filter((name) => !builtIn.has(name));
}

const named = new Set(variants.flatMap(({ name }) => name.split(", ")));
const missing = publicMembers().filter((name) => !named.has(name));
if (missing.length > 0)
  throw new Error(`no benchmark of DgramBuffer members ${missing.join(", ")}`);

/** The engine may keep the fields of a single buffer in registers, but not those of a batch. */
const BATCH = 64;
const batch = Array.from({ length: BATCH }, filled);
const batchVariants: readonly Variant[] = [
  {
    name: "tryAddPrefix, 8 bytes, advance",
    run() {
      for (const buffer of batch) {
        if (buffer.tryAddPrefix(PREFIX)) buffer.advance(PREFIX.length);
      }
    },
  },
  {
    name: "tryAddVarintPrefix, 4 bytes, advance",
    run() {
      for (const buffer of batch) {
        if (buffer.tryAddVarintPrefix(1_000_000)) buffer.advance(4);
      }
    },
  },
];

const parameters = { bytes: PAYLOAD.length };

export const comparisons: readonly Comparison[] = [
  { scenario: "DgramBuffer", parameters, variants },
  { scenario: "DgramBuffer, each of 64", parameters, operations: BATCH, variants: batchVariants },
];
