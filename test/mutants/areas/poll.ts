/** Mistakes in lib/poll/. */

import type { Mutant } from "../mutant.ts";

const QUEUE = {
  file: "lib/poll/operation-queue.ts",
  tests: ["test/poll/operation-queue.test.ts", "test/poll/operation-queue-reentrancy.test.ts"],
};
const WAKER = {
  file: "lib/poll/shared-waker.ts",
  tests: ["test/sockets/shared-waker.test.ts", "test/sockets/pending-operations.test.ts"],
};
const DEFERRED = {
  file: "lib/poll/deferred-error.ts",
  tests: ["test/poll/poll.test.ts", "test/traits/recv.test.ts", "test/traits/recv-batch.test.ts"],
};

export const mutants: readonly Mutant[] = [
  {
    ...QUEUE,
    name: "callers that a poll has added wait for another event",
    find: "    } else if (this.#head !== undefined) {",
    replace: "    } else if (this.#head === STARTING) {",
  },
  {
    ...QUEUE,
    name: "a poll may be called within the poll of another caller",
    find: "return this.#head !== undefined || this.#polled !== undefined;",
    replace: "return this.#head !== undefined;",
  },
  {
    ...QUEUE,
    name: "a poll that was woken while it was pending waits for ever",
    find: "      });\n      this.#wakeLater();",
    replace: "      });",
  },
  {
    ...QUEUE,
    name: "the first caller waits behind those that its poll has added",
    find: "this.#prepend(newOperation(",
    replace: "this.#append(newOperation(",
  },
  {
    ...QUEUE,
    name: "a finished operation keeps its listener on the signal",
    find: '    if (onAbort !== undefined) operation.signal?.removeEventListener("abort", onAbort);\n',
    replace: "    void onAbort;\n",
  },
  {
    ...QUEUE,
    name: "aborting the head does not poll the next operation",
    find: "    if (isHead) this.#advance();\n",
    replace: "    void isHead;\n",
  },
  {
    ...QUEUE,
    name: "a poll that always wakes itself blocks the event loop",
    find: "if (this.#isWoken && this.#head !== undefined) setImmediate(this.waker);",
    replace: "if (this.#isWoken && this.#head !== undefined) queueMicrotask(this.waker);",
  },
  {
    ...QUEUE,
    name: "an operation that is aborted by its own poll loses its datagram",
    find: "    if (operation === this.#polled) return;\n",
    replace: "",
  },
  {
    ...WAKER,
    name: "a waker of a poll is called by every later event",
    find: "    this.#pollWaker = null;\n",
    replace: "",
  },
  {
    ...DEFERRED,
    name: "a deferred error is thrown by every later call",
    find: "    this.#error = undefined;\n",
    replace: "",
  },
];
