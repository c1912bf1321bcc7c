/** Memory around a multiple of 4 GiB, where the low word of an address overflows. */

import { dlopen, type Pointer, toArrayBuffer } from "bun:ffi";

/** The size of a page in bytes. */
export const PAGE = 4096;

/** Four pages: two before `boundary`, a multiple of 4 GiB, and two after it. */
export interface MappedMemory {
  readonly buffer: ArrayBuffer;
  readonly boundary: number;
}

/** Maps pages around the first multiple of 4 GiB, from `multiple` on, where they are free. */
export function mapAroundBoundary(multiple: number): MappedMemory {
  const name = process.arch === "arm64" ? "aarch64" : "x86_64";
  const libc = openFirst(["libc.so.6", `libc.musl-${name}.so.1`]);
  for (let candidate = multiple; candidate < multiple + 64; candidate++) {
    const start = candidate * 2 ** 32 - 2 * PAGE;
    const flags = 0x22 | 0x10_0000; // MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    const got = libc.symbols.mmap(start as Pointer, 4 * PAGE, 3, flags, -1, 0);
    if (Number(got) !== start) continue;
    const buffer = toArrayBuffer(start as Pointer, 0, 4 * PAGE);
    return { buffer, boundary: start + 2 * PAGE };
  }
  throw new Error("no free pages around a multiple of 4 GiB");
}

function openFirst(names: readonly string[]) {
  const symbols = {
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  } as const;
  for (const name of names) {
    try {
      return dlopen(name, symbols);
    } catch {
      // Continues with the next name.
    }
  }
  throw new Error(`one of ${names.join(", ")} expected, got none`);
}
