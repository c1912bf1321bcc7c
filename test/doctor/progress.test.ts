/** The progress of long steps. */

import { expect, test } from "bun:test";
import { Progress } from "../../lib/doctor/progress.ts";

/** A stream that fulfils a promise when the first text is written to it. */
function recordingStream(isTTY: boolean) {
  const { promise: written, resolve } = Promise.withResolvers<void>();
  const texts: string[] = [];
  const write = (text: string) => {
    texts.push(text);
    resolve();
  };
  return { isTTY, write, texts, written };
}

test("a step that takes longer than the delay is printed once, without escape sequences", async () => {
  const stream = recordingStream(false);
  const progress = new Progress({ stream, delayMs: 1 });
  const result = await progress.step("measuring", () => stream.written.then(() => 7));
  expect(result).toBe(7);
  expect(stream.texts).toEqual(["measuring ...\n"]);
});

test("on a terminal, the line is erased when the step ends, also by an error", async () => {
  const stream = recordingStream(true);
  const progress = new Progress({ stream, delayMs: 1 });
  const failing = progress.step("measuring", async () => {
    await stream.written;
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  expect(stream.texts).toEqual(["measuring ...", "\r\x1b[K"]);
});

test("a step that ends before the delay prints nothing", async () => {
  const stream = recordingStream(true);
  const progress = new Progress({ stream, delayMs: 60_000 });
  expect(await progress.step("measuring", async () => 7)).toBe(7);
  expect(stream.texts).toEqual([]);
});
