/** Arguments of the system calls: names and addresses of any length. */

import { expect, test } from "bun:test";
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
