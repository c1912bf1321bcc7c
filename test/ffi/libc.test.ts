/** The functions of libc that loading needs: files in memory, and the lack of descriptors. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Libc } from "../../ffi/libc.ts";
import { openDescriptors } from "../tools/sockets.ts";

/** O_CLOEXEC, in the octal notation of /proc/self/fdinfo. */
const O_CLOEXEC = 0o2000000;

function openLibc(): Libc {
  const libc = Libc.open();
  if (libc === undefined) throw new Error("libc expected, got none");
  return libc;
}

test("a file in memory has its text, is not inherited, and is closed by close()", () => {
  const libc = openLibc();
  const before = openDescriptors();
  const file = libc.createMemoryFile("int x;");
  expect(openDescriptors()).toBe(before + 1);
  expect(readFileSync(file.path, "utf8")).toBe("int x;");
  const fdinfo = readFileSync(file.path.replace("/fd/", "/fdinfo/"), "utf8");
  const flags = Number.parseInt(/^flags:\s*(\d+)$/m.exec(fdinfo)?.[1] as string, 8);
  expect(flags & O_CLOEXEC).toBe(O_CLOEXEC);
  file.close();
  expect(openDescriptors()).toBe(before);
  libc.close();
});

test("looking for a lack of descriptors returns 0 without one, and leaves none open", () => {
  const libc = openLibc();
  const before = openDescriptors();
  expect(libc.findLack()).toBe(0);
  expect(openDescriptors()).toBe(before);
  libc.close();
});
