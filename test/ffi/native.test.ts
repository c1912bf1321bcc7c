/** Arguments of the system calls, names and addresses of any length, and memory of the system. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { lazyBytes } from "../../ffi/native.ts";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { loadedNative } from "./tools.ts";

const ENODEV = 19;

const native = loadedNative();

test("interfaceIndex passes the whole name of an interface, with characters of several bytes", () => {
  expect(native.interfaceIndex("lo")).toBeGreaterThan(0);
  for (const name of ["lo€", "lo\u{1f600}", "loé", "€", "€€€€"]) {
    expect([name, native.interfaceIndex(name)]).toEqual([name, -ENODEV]);
  }
});

test("bind passes no more bytes of an address than its memory has", () => {
  const words = new Int32Array(4);
  words[0] = AF_INET;
  for (const length of [16, 17, 1000]) {
    const fd = native.open(AF_INET, SOCK_DGRAM, 0);
    expect([length, native.bind(fd, { words, length })]).toEqual([length, 0]);
    native.close(fd);
  }
});

/** Returns the size of the address space in bytes (proc(5), statm). */
function mappedBytes(): number {
  const PAGE_BYTES = 4096;
  return Number(readFileSync("/proc/self/statm", "utf8").split(" ", 1)[0]) * PAGE_BYTES;
}

test("lazyBytes maps memory of zeros, and returns it to the system when it is garbage", async () => {
  const COUNT = 50;
  const BYTES = 64 * 2 ** 20;
  const before = mappedBytes();
  const map = () => {
    for (let i = 0; i < COUNT; i++) {
      const bytes = lazyBytes(BYTES);
      expect([bytes.length, bytes[0], bytes[BYTES - 1]]).toEqual([BYTES, 0, 0]);
    }
  };
  map();
  for (let i = 0; i < 100 && mappedBytes() - before > (COUNT * BYTES) / 4; i++) {
    await Bun.sleep(5);
    Bun.gc(true);
  }
  expect(mappedBytes() - before).toBeLessThan((COUNT * BYTES) / 4);
});
