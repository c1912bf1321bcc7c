/** Unix sockets that cannot be opened: neither a descriptor nor a file is left behind. */

import { afterAll, expect, spyOn, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnixDatagram } from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { openDescriptors, rejection } from "../tools/sockets.ts";

const directory = mkdtempSync(join(tmpdir(), "datagram-failures-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** An error of setsockopt and getsockname that a test cannot provoke. */
const ENOBUFS = 105;

test.each([
  ["unbound", 0, () => UnixDatagram.unbound()],
  ["pair", 0, () => UnixDatagram.pair()],
  ["pair", 1, () => UnixDatagram.pair()],
])("%s leaves no descriptor open if getsockname fails after %i calls", async (_, calls, open) => {
  (await UnixDatagram.unbound()).close();
  const before = openDescriptors();
  const native = loadedNative();
  const original = native.name.bind(native);
  let left = calls;
  const naming = spyOn(native, "name");
  naming.mockImplementation((fd) => (left-- > 0 ? original(fd) : -ENOBUFS));
  try {
    const error = await rejection(open() as Promise<unknown>);
    expect(error).toMatchObject({ code: "ENOBUFS", syscall: "getsockname" });
    // Descriptors of earlier tests may be closed meanwhile, by the collector.
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  } finally {
    naming.mockRestore();
  }
});

test("bind leaves no file behind if getsockname fails", async () => {
  const path = join(directory, "socket");
  const naming = spyOn(loadedNative(), "name").mockReturnValue(-ENOBUFS);
  try {
    expect(await rejection(UnixDatagram.bind(path))).toMatchObject({ code: "ENOBUFS" });
  } finally {
    naming.mockRestore();
  }
  expect(existsSync(path)).toBe(false);
  (await UnixDatagram.bind(path)).close();
});

test("a pair whose set-up fails leaves no descriptor open", async () => {
  (await UnixDatagram.unbound()).close();
  const before = openDescriptors();
  const setting = spyOn(loadedNative(), "setIntOption").mockReturnValue(-ENOBUFS);
  try {
    const error = await rejection(UnixDatagram.pair({ sendBufferBytes: 10_000 }));
    expect(error).toMatchObject({ code: "ENOBUFS", syscall: "setsockopt" });
    expect(openDescriptors()).toBeLessThanOrEqual(before);
  } finally {
    setting.mockRestore();
  }
});
