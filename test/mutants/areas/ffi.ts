/** Mistakes in ffi/. */

import type { Mutant } from "../mutant.ts";

const VECTOR_TESTS = [
  "test/ffi/vector-slots.test.ts",
  "test/ffi/message-vector.test.ts",
  "test/ffi/memory-lifetime.test.ts",
  "test/ffi/control-truncation.test.ts",
  "test/sockets/retained-memory.test.ts",
  "test/sockets/udp-send-recv.test.ts",
  "test/sockets/unix.test.ts",
  "test/batch/send-batch.test.ts",
];
const SEND = {
  file: "ffi/send-vector.ts",
  tests: VECTOR_TESTS,
};
const RECEIVE = {
  file: "ffi/receive-vector.ts",
  tests: VECTOR_TESTS,
};
const VECTOR = {
  file: "ffi/message-vector.ts",
  tests: VECTOR_TESTS,
};
const LOAD = { file: "ffi/load.ts", tests: ["test/ffi/load.test.ts"] };
const LIBC = { file: "ffi/libc.ts", tests: ["test/ffi/libc.test.ts"] };
/** They take some seconds. */
const SCARCE = ["test/readiness/scarce-descriptors.test.ts"];
const MEMORY = {
  file: "ffi/memory.ts",
  tests: ["test/ffi/memory-lifetime.test.ts", "test/ffi/message-vector.test.ts"],
};
const NATIVE = {
  file: "ffi/native.ts",
  tests: [
    "test/ffi/native.test.ts",
    "test/ffi/memory-lifetime.test.ts",
    "test/linux/interfaces.test.ts",
  ],
};
const POLLER = {
  file: "ffi/poller.ts",
  tests: ["test/ffi/poller.test.ts", "test/readiness/fairness.test.ts"],
};
const ARRAYS = {
  file: "ffi/typed-arrays.ts",
  tests: [
    "test/ffi/vector-slots.test.ts",
    "test/ffi/memory-lifetime.test.ts",
    "test/ffi/message-vector.test.ts",
    "test/sockets/argument-checks.test.ts",
    "test/sockets/hostile-arguments.test.ts",
  ],
};

export const mutants: readonly Mutant[] = [
  {
    ...SEND,
    name: "a piece after a 4 GiB boundary of memory is read 4 GiB too low",
    find: "    const high = (this.basesHigh[i] as number) + carryOf(low, baseLow);\n    this.#nextIovec = writeIovec",
    replace: "    const high = this.basesHigh[i] as number;\n    this.#nextIovec = writeIovec",
  },
  {
    ...SEND,
    name: "an equal payload after a 4 GiB boundary is read 4 GiB too low",
    find: "        high += carryOf(low, baseLow);\n",
    replace: "",
  },
  {
    ...SEND,
    name: "a slice after a 4 GiB boundary is read 4 GiB too low",
    find: "      const high = (basesHigh[i] as number) + carryOf(low, baseLow);\n      i++;",
    replace: "      const high = basesHigh[i] as number;\n      i++;",
  },
  {
    ...SEND,
    name: "bytes of which only the low words of the addresses follow are merged",
    find: "    if (\n      (((words[previous] as number) + previousBytes) | 0) === low &&\n      words[previous + 1] === high\n    ) {",
    replace: "    if ((((words[previous] as number) + previousBytes) | 0) === low) {",
  },
  {
    ...SEND,
    name: "a slice whose memory was transferred since is sent with its old length",
    find: "if (!isHeld || !hasLength(view, byteLength)) this.hold",
    replace: "if (!isHeld) this.hold",
  },
  {
    ...SEND,
    name: "an equal payload whose memory was transferred since is sent with its old length",
    find: "      if (!hasLength(views[i] as Uint8Array, byteLength)) break;\n",
    replace: "",
  },
  {
    ...SEND,
    name: "an equal payload that exceeds its array is sent",
    find: ") !== length || offset + length > byteLength) break;",
    replace: ") !== length) break;",
  },
  {
    ...SEND,
    name: "an array whose memory was transferred is sent as an empty datagram",
    find: "if (byteLength === 0 && hasLostMemory(this.views[i] as Uint8Array)) {",
    replace: "if (byteLength < 0) {",
  },
  {
    ...SEND,
    name: "a payload that exceeds its array is sent",
    find: "    checkPart(start, length, byteLength);\n    return length;",
    replace: "    return length;",
  },
  {
    ...SEND,
    name: "the first iovec of a message is not written again",
    find: "      this.#firsts[m] = slot;\n",
    replace: "",
  },
  {
    ...SEND,
    name: "control messages of an earlier message are sent again",
    find: "    this.words[header + MMSGHDR.controlLength / 4] = controlBytes;\n",
    replace:
      "    if (controlBytes > 0) this.words[header + MMSGHDR.controlLength / 4] = controlBytes;\n",
  },
  {
    ...SEND,
    name: "a message without a destination goes to the previous one",
    find: "    this.#destinations[m] = destination;\n",
    replace: "",
  },
  {
    ...SEND,
    name: "an address of another family overwrites the next address",
    find: "const length = Math.min(destination?.length ?? 0, this.nameCapacity);",
    replace: "const length = destination?.length ?? 0;",
  },
  {
    ...SEND,
    name: "the last bytes of a destination are not written",
    find: "word < (length + 3) >> 2; word++",
    replace: "word < length >> 2; word++",
  },
  {
    ...SEND,
    name: "slices extend the previous message",
    find: "let mayExtendNext = mayExtend;",
    replace: "let mayExtendNext = true;",
  },
  {
    ...SEND,
    name: "a send of the remaining messages starts with the first again",
    find: "this.shim.batch_send(fd, this.headerAddress(start), count)",
    replace: "this.shim.batch_send(fd, this.headerAddress(0 * start), count)",
  },
  {
    ...SEND,
    name: "starting again keeps the index of the next view",
    find: "    this.#nextIovec = this.iovecs;\n    this.#nextView = 0;",
    replace: "    this.#nextIovec = this.iovecs;",
  },
  {
    ...RECEIVE,
    name: "a part after a 4 GiB boundary is written 4 GiB too low",
    find: "        words[iovec + 1] = (basesHigh[i] as number) + carryOf(low, baseLow);",
    replace: "        words[iovec + 1] = basesHigh[i] as number;",
  },
  {
    ...RECEIVE,
    name: "the kernel writes to memory that was transferred",
    find: "byteLength >= 0 && hasLength(views[i] as Uint8Array, byteLength);",
    replace: "byteLength >= 0;",
  },
  {
    ...RECEIVE,
    name: "a receive into the tail of a buffer exceeds its end",
    find: "words[iovec + 2] = byteLength - start;",
    replace: "words[iovec + 2] = byteLength;",
  },
  {
    ...RECEIVE,
    name: "a tail that starts after the end of its memory is used",
    find: "if (!isSettled || start > byteLength) {",
    replace: "if (!isSettled) {",
  },
  {
    ...RECEIVE,
    name: "a buffer that has shrunk to before its tail is used",
    find: "    checkPart(start, 0, byteLength);\n",
    replace: "",
  },
  {
    ...RECEIVE,
    name: "the room of a buffer of 2 GiB is negative",
    find: "this.words[this.iovecs + i * IOVEC_WORDS + 2] as number) >>> 0",
    replace: "this.words[this.iovecs + i * IOVEC_WORDS + 2] as number)",
  },
  {
    ...RECEIVE,
    name: "truncated datagrams are reported as truncated control messages",
    find: "const MSG_CTRUNC = 8;",
    replace: "const MSG_CTRUNC = 0x20;",
  },
  {
    ...VECTOR,
    name: "a part of a buffer after a 4 GiB boundary is read 4 GiB too low",
    find: "    words[iovec + 1] = (this.basesHigh[i] as number) + carryOf(low, baseLow);",
    replace: "    words[iovec + 1] = this.basesHigh[i] as number;",
  },
  {
    ...VECTOR,
    name: "a carry is computed with signed words",
    find: "return (low ^ SIGN_BIT) < (before ^ SIGN_BIT) ? 1 : 0;",
    replace: "return low < before ? 1 : 0;",
  },
  {
    ...VECTOR,
    name: "a stale length is trusted when a buffer is used again",
    find: "if (byteLength >= 0 && hasLength(view, byteLength)) return byteLength;",
    replace: "if (byteLength >= 0) return byteLength;",
  },
  {
    ...VECTOR,
    name: "the buffers of a finished call are kept alive",
    find: "    this.views.fill(NO_VIEW, 0, count);\n",
    replace: "    void count;\n",
  },
  {
    ...VECTOR,
    name: "the element that was read last is kept alive after the call",
    find: "    this.views.fill(NO_VIEW, 0, count);\n    this.uncovered = undefined;\n",
    replace: "    this.views.fill(NO_VIEW, 0, count);\n",
  },
  {
    ...VECTOR,
    name: "a part of the same view at another start keeps the old start",
    find: "    this.starts[i] = start;\n    if (this.views[i] === view) return;",
    replace: "    if (this.views[i] === view) return;\n    this.starts[i] = start;",
  },
  {
    ...VECTOR,
    name: "another view in a slot keeps the length of the one before",
    find: "      this.starts[i] = 0;\n      this.byteLengths[i] = -1;",
    replace: "      this.starts[i] = 0;",
  },
  {
    ...VECTOR,
    name: "a slot with a part of a view is taken for the whole view",
    find: "return this.views[i] === view && (this.starts[i] as number) < 0;",
    replace: "return this.views[i] === view;",
  },
  {
    ...VECTOR,
    name: "a loop over slots takes a part of a view for the whole view",
    find: "if (views[slot + i] !== buf || (starts[slot + i] as number) >= 0) {",
    replace: "if (views[slot + i] !== buf) {",
  },
  {
    ...VECTOR,
    name: "the address of a small array is taken before the engine moves it",
    find: "    settleMemory(view);\n    const bytes",
    replace: "    const bytes",
  },
  {
    ...VECTOR,
    name: "a buffer of more than 4 GiB is accepted",
    find: "  if (bytes <= BUFFER_BYTES_MAX) return;",
    replace: "  if (bytes <= 2 * BUFFER_BYTES_MAX + 2) return;",
  },
  {
    ...VECTOR,
    name: "only the length of a part is checked, not its start",
    find: "if (length < 0 || start + length > byteLength) {",
    replace: "if (length < 0 || length > byteLength) {",
  },
  {
    ...LOAD,
    name: "the temporary directory is left behind",
    find: "    rmdirSync(directory);\n",
    replace: "    void rmdirSync;\n",
  },
  {
    ...LOAD,
    name: "a lack of descriptors is remembered",
    find: 'if ("shim" in loaded || loaded.errno === 0) result = loaded;',
    replace: "result = loaded;",
    tests: SCARCE,
  },
  {
    ...LOAD,
    name: "the shim is compiled by versions of Bun that crash",
    find: "const BUN_VERSION_MIN: readonly number[] = [1, 4, 3];",
    replace: "const BUN_VERSION_MIN: readonly number[] = [1, 4, 0];",
  },
  {
    ...LOAD,
    name: "a version of Bun with a greater minor number is refused",
    find: "if (number !== min) return number > min;",
    replace: "if (number < min) return false;",
  },
  {
    ...LOAD,
    name: "a path with a space breaks the flags of the compiler",
    find: "return compileFile(path, { flags: `-L${JSON.stringify(directory)}` });",
    replace: "return compileFile(path, { flags: `-L${directory}` });",
  },
  {
    ...LOAD,
    name: "every thread compiles the shim again",
    find: "  if (compiled !== undefined) shim.shim_publish(ptr(Buffer.from(`${PUBLIC_NAME}\\0`)));\n",
    replace: "",
    tests: ["test/ffi/load.test.ts", "test/ffi/shared-code.test.ts"],
  },
  {
    ...LIBC,
    name: "the memory file of the source stays open",
    find: "close: () => void close(fd) }",
    replace: "close: () => {} }",
  },
  {
    ...LIBC,
    name: "the memory file of the source is inherited by child processes",
    find: "const MFD_CLOEXEC = 1;",
    replace: "const MFD_CLOEXEC = 0;",
  },
  {
    ...LIBC,
    name: "looking for a lack of descriptors leaks descriptors",
    find: "    for (const fd of opened) this.#library.symbols.close(fd);\n",
    replace: "",
  },
  {
    ...LIBC,
    name: "a lack of descriptors is not recognized",
    find: "return errno === EMFILE || errno === ENFILE || errno === ENOMEM ? errno : 0;",
    replace: "return errno === ENFILE || errno === ENOMEM ? errno : 0;",
    tests: SCARCE,
  },
  {
    ...MEMORY,
    name: "an address is taken before the engine moves the array",
    find: "  bufferOf(view);\n  return ptr(view);",
    replace: "  void bufferOf;\n  return ptr(view);",
  },
  {
    ...NATIVE,
    name: "the memory of a collected batch is not unmapped",
    find: "ownedBuffer(memory, length, length, loaded.memoryUnmap)",
    replace: "ownedBuffer(memory, length, 1, loaded.memoryUnmap)",
  },
  {
    ...NATIVE,
    name: "the length of an address may exceed its memory",
    find: "return Math.min(length, byteLengthOf(words));",
    replace: "return Math.max(length, 0 * byteLengthOf(words));",
  },
  {
    ...NATIVE,
    name: "the name of an interface with characters of several bytes is cut off",
    find: "nativeBytes(3 * name.length + 1)",
    replace: "nativeBytes(name.length + 1)",
  },
  {
    ...NATIVE,
    name: "an address of an interface is compared at the wrong offset",
    find: "const at = addressOf(words) + offset;",
    replace: "const at = addressOf(words);",
  },
  {
    ...POLLER,
    name: "a token of more than 32 bits loses its high word",
    find: "return (this.#ready[word + READY.tokenHigh / 4] as number) * 2 ** 32 + low;",
    replace: "return low;",
  },
  {
    ...POLLER,
    name: "a token with bit 31 is negative",
    find: "const low = (this.#ready[word] as number) >>> 0;",
    replace: "const low = this.#ready[word] as number;",
  },
  {
    ...POLLER,
    name: "descriptors after the first 64 that are ready wait for the next notification",
    find: "return count === READY_MAX;",
    replace: "return count > READY_MAX;",
  },
  {
    ...POLLER,
    name: "a registration for one event becomes permanent",
    find: "isOnce ? 1 : 0, token",
    replace: "isOnce ? 0 : 0, token",
  },
  {
    ...ARRAYS,
    name: "an array that has grown passes for one of the same length",
    find: "return view[length - 1] !== undefined && view[length] === undefined;",
    replace: "return view[length - 1] !== undefined;",
  },
  {
    ...ARRAYS,
    name: "an overridden length is trusted",
    find: "return (length | 0) === length && hasLength(view, length) ? length : byteLengthOf(view);",
    replace: "return (length | 0) === length ? length : byteLengthOf(view);",
  },
  {
    ...ARRAYS,
    name: "an object that only inherits from Uint8Array is accepted",
    find: 'return classGetter.call(value) === "Uint8Array";',
    replace: "return value instanceof Uint8Array;",
  },
  {
    ...ARRAYS,
    name: "an empty array passes for one whose memory was transferred",
    find: "    at.call(view, 0);\n    return false;",
    replace: "    at.call(view, 0);\n    return true;",
  },
];
