/** Mistakes in lib/buffer/. */

import type { Mutant } from "../mutant.ts";

const TAIL = {
  file: "lib/buffer/tail-buffer.ts",
  tests: [
    "test/buffer/tail-buffer.test.ts",
    "test/buffer/buffer.test.ts",
    "test/buffer/hostile-bytes.test.ts",
  ],
};
const POOL = { file: "lib/buffer/pool.ts", tests: ["test/buffer/pool.test.ts"] };
const VARINT = { file: "lib/buffer/varint.ts", tests: ["test/buffer/varint.test.ts"] };

export const mutants: readonly Mutant[] = [
  {
    ...TAIL,
    name: "a failed append leaves the payload longer",
    find: "    memory.set(bytes, at);\n",
    replace: "    this._end = end;\n    memory.set(bytes, at);\n    this._end = at;\n",
  },
  { ...TAIL, name: "growing loses the contents", find: "  grown.set(old);\n", replace: "" },
  {
    ...TAIL,
    name: "the overridden length of an array is trusted by putSlice",
    find: "const length = genuineLengthOf(bytes);",
    replace: "const length = bytes.length;",
  },
  {
    ...POOL,
    name: "a pooled buffer has bytes of its former user in the headroom",
    find: "      zero(memory, this.headroom);\n",
    replace: "      void zero;\n",
  },
  {
    ...POOL,
    name: "memory that the user has taken is given to the next user",
    find: "const usable = intact && memory.length === this.capacity;",
    replace: "const usable = (intact || true) && memory.length === this.capacity;",
  },
  {
    ...POOL,
    name: "memory that was transferred is given to the next user",
    find: "const usable = intact && memory.length === this.capacity;",
    replace: "const usable = intact;",
  },
  {
    ...POOL,
    name: "a disposed lease still writes to the pool's memory",
    find: "    buffer._give(NO_BYTES, 0);\n",
    replace: "",
  },
  {
    ...VARINT,
    name: "a varint of 2^53 is decoded to an inexact number",
    find: "const SAFE_HIGH_WORD_MAX = 0x1f_ffff;",
    replace: "const SAFE_HIGH_WORD_MAX = 0x3f_ffff;",
  },
  {
    ...VARINT,
    name: "a varint at the end of a range may exceed it",
    find: "if (start + length > end) {",
    replace: "if (start + length > end + 1) {",
  },
];
