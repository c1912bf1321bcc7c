/** The time in which a failed send is retried. */

import { expect, test } from "bun:test";
import { RetryWindow } from "../../lib/engine/retry-window.ts";

const WINDOW_MS = 5;
/** After this time without a failure, the next one starts a new window. */
const QUIET_MS = 100;

test("a window ends, and failures in a row do not begin another one", async () => {
  const window = new RetryWindow(WINDOW_MS);
  expect(window.remainingMs()).toBeCloseTo(WINDOW_MS);
  await Bun.sleep(WINDOW_MS + 1);
  expect(window.remainingMs()).toBe(0);
  expect(window.remainingMs()).toBe(0);
});

test("a new window begins with the first failure after a successful send", async () => {
  const window = new RetryWindow(WINDOW_MS);
  window.remainingMs();
  await Bun.sleep(WINDOW_MS + 1);
  expect(window.remainingMs()).toBe(0);
  window.reset();
  expect(window.remainingMs()).toBeCloseTo(WINDOW_MS);
});

test("a new window begins with the first failure after a while without any", async () => {
  const window = new RetryWindow(WINDOW_MS);
  window.remainingMs();
  await Bun.sleep(QUIET_MS + 1);
  expect(window.remainingMs()).toBeCloseTo(WINDOW_MS);
});
