/** Tests of argument checks: accepted values, error classes and messages. */

import { describe, expect, test } from "bun:test";
import { checkBytes, checkInteger, rangeError, show, typeError } from "../../lib/support/check.ts";

describe("checkInteger", () => {
  test("accepts both ends of the range, and throws RangeError one beyond each", () => {
    for (const value of [0, 1, 65_535]) {
      expect(() => checkInteger("port", value, 0, 65_535)).not.toThrow();
    }
    for (const value of [-1, 65_536, 2 ** 53]) {
      expect(() => checkInteger("port", value, 0, 65_535)).toThrow(RangeError);
    }
    expect(() => checkInteger("count", Number.MAX_SAFE_INTEGER, 0, 2 ** 53 - 1)).not.toThrow();
    expect(() => checkInteger("count", 2 ** 53, 0, 2 ** 53 - 1)).toThrow(RangeError);
    expect(() => checkInteger("count", -0, 0, 0)).not.toThrow();
  });

  test("throws RangeError for numbers that are no integers", () => {
    for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => checkInteger("count", value, 0, 10)).toThrow(RangeError);
    }
  });

  test("throws TypeError for values of other types", () => {
    const values = [
      "1",
      "",
      1n,
      null,
      undefined,
      true,
      {},
      [1],
      Symbol("x"),
      () => 1,
      new Number(1),
    ];
    for (const value of values) {
      expect(() => checkInteger("count", value as number, 0, 10)).toThrow(TypeError);
    }
  });

  test("reports the argument, the range and the actual value", () => {
    expect(() => checkInteger("port", 70_000, 0, 65_535)).toThrow(
      '"port" expected integer 0..65535, got 70000',
    );
  });
});

describe("checkBytes", () => {
  test("accepts any Uint8Array: empty, a part of a larger one, a Buffer", () => {
    const views = [new Uint8Array(0), new Uint8Array(9).subarray(3, 5), Buffer.from("x")];
    for (const bytes of views) expect(() => checkBytes("buf", bytes)).not.toThrow();
  });

  test("throws TypeError for other values, including other views and an ArrayBuffer", () => {
    const values = [undefined, null, 1, "x", [1], {}, new ArrayBuffer(1), new Uint16Array(1)];
    for (const value of [...values, new DataView(new ArrayBuffer(1)), new Uint8ClampedArray(1)]) {
      expect(() => checkBytes("buf", value)).toThrow(TypeError);
    }
    expect(() => checkBytes("buf", new ArrayBuffer(1))).toThrow(
      '"buf" expected Uint8Array, got an instance of ArrayBuffer',
    );
  });
});

describe("error messages of argument checks", () => {
  test.each([
    [1.5, "1.5"],
    [Number.NaN, "NaN"],
    [7n, "7n"],
    ["x", '"x"'],
    ["\0", '"\\u0000"'],
    [null, "null"],
    [undefined, "undefined"],
    [true, "true"],
    [Symbol("x"), "Symbol(x)"],
    [() => 1, "a function"],
    [[1], "an instance of Array"],
    [Object.create(null), "an instance of Object"],
    [new Uint8Array(1), "an instance of Uint8Array"],
  ])("format %p as %s", (value, formatted) => {
    expect(show(value)).toBe(formatted);
  });

  test("truncate strings of more than 80 characters", () => {
    expect(show("a".repeat(80))).toBe(`"${"a".repeat(80)}"`);
    expect(show("a".repeat(81))).toBe(`"${"a".repeat(77)}..."`);
  });

  test("are created by typeError and rangeError with the class of that name", () => {
    expect(typeError("x", "y", 1)).toBeInstanceOf(TypeError);
    expect(rangeError("x", "y", 1)).toBeInstanceOf(RangeError);
    expect(rangeError("x", "y", 1).message).toBe('"x" expected y, got 1');
  });
});
