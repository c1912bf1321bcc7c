/** Mistakes in lib/readiness/. */

import type { Mutant } from "../mutant.ts";

const REACTOR = {
  file: "lib/readiness/reactor.ts",
  tests: ["test/readiness/reactor.test.ts", "test/readiness/reactor-ticks.test.ts"],
};
const INTEREST = { file: "lib/readiness/interest.ts", tests: ["test/readiness/reactor.test.ts"] };
const NOTIFIERS = ["test/readiness/notifiers.test.ts"];
const LOOP = { file: "lib/readiness/loop-notifier.ts", tests: NOTIFIERS };
const THREAD = { file: "lib/readiness/thread-notifier.ts", tests: NOTIFIERS };
const NOTIFIER = { file: "lib/readiness/notifier.ts", tests: NOTIFIERS };
const START = {
  file: "lib/readiness/thread-reactor.ts",
  tests: ["test/readiness/fallback.test.ts"],
};
/** They take some seconds. */
const SCARCE = ["test/readiness/scarce-descriptors.test.ts"];

export const mutants: readonly Mutant[] = [
  {
    ...REACTOR,
    name: "one socket transfers any number of datagrams in a tick",
    find: "if (interest.datagramsInTick < SOCKET_DATAGRAMS_PER_TICK && !this.#isOverTime()) return true;",
    replace: "void SOCKET_DATAGRAMS_PER_TICK;\n    if (!this.#isOverTime()) return true;",
  },
  {
    ...REACTOR,
    name: "a tick that is over time starts further transfers",
    find: "SOCKET_DATAGRAMS_PER_TICK && !this.#isOverTime()) return true;",
    replace: "SOCKET_DATAGRAMS_PER_TICK) return true;",
  },
  {
    ...REACTOR,
    name: "a tick that is over time wakes all interests",
    find: "while (woken < waking.length && !this.#isOverTime()) {",
    replace: "while (woken < waking.length) {",
  },
  {
    ...REACTOR,
    name: "interests that begin to spin late in a tick are lost",
    find: "    for (const interest of added) waking.push(interest);\n",
    replace: "",
  },
  {
    ...REACTOR,
    name: "interests that a tick had no time for are lost",
    find: "    if (woken < waking.length) this.#requeue(waking, woken);\n    else waking.length = 0;",
    replace: "    if (woken < 0) this.#requeue(waking, woken);\n    waking.length = 0;",
  },
  {
    ...REACTOR,
    name: "requeued interests come after those that began to spin later",
    find: "    waking.copyWithin(0, start);\n    waking.length -= start;\n    for (const interest of added) waking.push(interest);",
    replace:
      "    waking.copyWithin(0, start);\n    waking.length -= start;\n    waking.unshift(...added);",
  },
  {
    ...REACTOR,
    name: "a duplicated descriptor stays open",
    find: "        this.#native.close(interest.fd);\n",
    replace: "",
  },
  {
    ...REACTOR,
    name: "a duplicated descriptor stays registered",
    find: "        this.#poller.remove(interest.fd);\n",
    replace: "",
  },
  {
    ...REACTOR,
    name: "a reused slot receives events of its former owner",
    find: "interest.token = this.#generation * 2 ** 20 + interest.slot + 1;",
    replace: "interest.token = interest.slot + 1;",
  },
  {
    ...REACTOR,
    name: "an interest that was disarmed is woken",
    find: ' || interest.token !== token || interest.state !== "armed") return;',
    replace: " || interest.token !== token) return;",
  },
  {
    ...REACTOR,
    name: "disarming does not stop events",
    find: "    this.#poller.arm(interest.fd, 0, interest.token, true);\n",
    replace: "",
  },
  {
    ...REACTOR,
    name: "a reader whose events find no datagram does not look for errors",
    tests: ["test/sockets/udp-errors.test.ts"],
    find: "      interest.mayHaveError = true;\n      interest.wake();",
    replace: "      interest.wake();",
  },
  {
    ...REACTOR,
    name: "an error event is not recorded",
    find: "    if ((events & POLLERR) !== 0) interest.mayHaveError = true;\n",
    replace: "    void (events & POLLERR);\n",
  },
  {
    ...REACTOR,
    name: "a refused epoll_ctl leaves the caller waiting forever",
    find: "    if (this.#poller.arm(fd, events, token, this.#isOneShot(interest)) < 0) {\n      this.retryLater(interest, waker);\n      return;",
    replace:
      "    if (this.#poller.arm(fd, events, token, this.#isOneShot(interest)) < 0) {\n      return;",
  },
  {
    ...REACTOR,
    name: "a lack of descriptors leaves a writer waiting forever",
    find: "      this.retryLater(interest, waker);\n      return;\n    }\n    this.#generation",
    replace: "      return;\n    }\n    this.#generation",
  },
  {
    ...REACTOR,
    name: "the slots of closed sockets are not reused",
    find: "    this.#freeSlots.push(read.slot);\n",
    replace: "    void read.slot;\n",
  },
  {
    ...REACTOR,
    name: "a removed interest keeps its waker",
    find: "      interest.waker = null;\n      this.#interests",
    replace: "      this.#interests",
  },
  {
    ...REACTOR,
    name: "removed interests are counted as armed",
    find: "      this.#markDisarmed(interest);\n      interest.waker = null;",
    replace: "      interest.waker = null;",
  },
  {
    ...REACTOR,
    name: "every call of unref releases the process",
    find: "if (--this.#refs === 0) this.#notifier?.unref();",
    replace: "--this.#refs;\n    this.#notifier?.unref();",
  },
  {
    ...REACTOR,
    name: "the budget of a tick is never renewed",
    find: "    this.#isTickScheduled = false;\n    this.#tick++;",
    replace: "    this.#isTickScheduled = false;",
  },
  {
    ...REACTOR,
    name: "the start of a tick's time is not renewed",
    find: "    this.#tickStartMs = nowMs();\n",
    replace: "    this.#tickStartMs ||= nowMs();\n",
  },
  {
    ...REACTOR,
    name: "a scheduled tick keeps an unreferenced process alive",
    find: "    if (this.#refs === 0) immediate.unref();\n",
    replace: "    void immediate;\n",
    tests: ["test/sockets/lifetime.test.ts"],
  },
  {
    ...REACTOR,
    name: "a try without a waker is refused by the budget",
    find: "    if (waker === null) return true;\n    if (interest.tick",
    replace: "    if (interest.tick",
  },
  {
    ...REACTOR,
    name: "the retry delay does not grow",
    find: "interest.retryDelayMs = Math.min(2 * interest.retryDelayMs, RETRY_MAX_MS);",
    replace: "void RETRY_MAX_MS;",
  },
  {
    ...REACTOR,
    name: "the retry delay is not reset by a transfer",
    find: "    interest.retryDelayMs = RETRY_MIN_MS;\n",
    replace: "    void RETRY_MIN_MS;\n",
  },
  {
    ...REACTOR,
    name: "the caller's limit of a retry delay is ignored",
    find: "const delayMs = Math.min(interest.retryDelayMs, delayMsMax);",
    replace: "const delayMs = Math.max(interest.retryDelayMs, 0 * delayMsMax);",
  },
  {
    ...REACTOR,
    name: "a transfer does not reset the number of empty events",
    find: "    interest.emptyEvents = 0;\n",
    replace: "",
  },
  {
    ...REACTOR,
    name: "a socket that is always ready and empty is retried without pause",
    find: "    if (interest.emptyEvents <= EMPTY_EVENTS_MAX) {\n",
    replace: "    void EMPTY_EVENTS_MAX;\n    if (interest.emptyEvents >= 0) {\n",
  },
  {
    ...REACTOR,
    name: "a socket that is retried by a timer stays armed",
    find: '    if (interest.state === "armed") this.#disarm(interest);\n    this.retryLater(interest, waker);',
    replace: "    this.retryLater(interest, waker);",
  },
  {
    ...REACTOR,
    name: "a writer spins",
    find: "interest.events === POLLIN && interest.hasShortWaits && waitedMs",
    replace: "interest.hasShortWaits && waitedMs",
  },
  {
    ...REACTOR,
    name: "an idle socket spins forever",
    find: "interest.hasShortWaits && waitedMs <= SPIN_MS;",
    replace: "interest.hasShortWaits && waitedMs >= 0;",
  },
  {
    ...REACTOR,
    name: "any number of sockets spin",
    find: "if (mayBeShort && this.#spinning.length < SPINNING_MAX) {",
    replace: "void SPINNING_MAX;\n    if (mayBeShort) {",
  },
  {
    ...REACTOR,
    name: "an event without a waiter is reported in every tick",
    find: '    if (interest.waker === null && interest.state === "armed") this.#disarm(interest);\n',
    replace: "",
  },
  {
    ...REACTOR,
    name: "only the first 64 events of a notification are handled",
    find: "      if (!this.#poller.isFull(count)) return;\n",
    replace: "      void this.#poller.isFull(count);\n      return;\n",
  },
  {
    ...REACTOR,
    name: "a notification wakes the latest armed socket without a check of the others",
    find: "      this.#armedCount === 1 && only?.state",
    replace: "      this.#armedCount >= 1 && only?.state",
  },
  {
    ...REACTOR,
    name: "arming a writer replaces the registration of the reader",
    find: "    if (interest.events !== POLLIN && !this.#useOwnDescriptor(interest)) {",
    replace: "    if (interest.events === POLLIN && !this.#useOwnDescriptor(interest)) {",
  },
  {
    ...REACTOR,
    name: "the probe leaks the end of its pair",
    find: "      this.remove(registration);\n      this.#native.close(kept);",
    replace: "      this.remove(registration);",
  },
  {
    ...REACTOR,
    name: "the probe accepts a loop that stops after one notification",
    find: "const PROBE_NOTIFICATIONS = 2;",
    replace: "const PROBE_NOTIFICATIONS = 1;",
  },
  {
    ...REACTOR,
    name: "a failed probe leaves its notifier open",
    find: "      notifier.close();\n      throw error;",
    replace: "      throw error;",
  },
  {
    ...REACTOR,
    name: "an interest that is armed and begins to spin stays armed",
    find: '      if (interest.state === "armed") this.#disarm(interest);\n      this.#cancelDelay(interest);',
    replace: "      this.#cancelDelay(interest);",
  },
  {
    ...REACTOR,
    name: "the table of slots has no limit",
    find: "if (slot + INTERESTS >= SLOTS_MAX) {",
    replace: "if (slot + INTERESTS < 0) {",
  },
  {
    ...INTEREST,
    name: "a waker is called again by the next event",
    find: "    const waker = this.waker;\n    this.waker = null;\n    return waker;",
    replace: "    return this.waker;",
  },
  {
    ...LOOP,
    name: "a socket that Bun cannot adopt stays open",
    find: "    native.close(fd);\n    throw error;",
    replace: "    throw error;",
  },
  {
    ...LOOP,
    name: "the descriptor that Bun has adopted is owned twice",
    find: "  native.disown(fd);\n",
    replace: "",
  },
  {
    ...LOOP,
    name: "a failed installation leaves Bun's socket open",
    find: "    socket.close();\n    throw error;",
    replace: "    throw error;",
  },
  {
    ...THREAD,
    name: "a failed adoption leaves the pair open",
    find: "    native.close(loopFd);\n    native.close(threadFd);\n    throw error;",
    replace: "    throw error;",
  },
  {
    ...THREAD,
    name: "a failed start of the helper thread leaves its descriptor open",
    find: "    native.close(threadFd);\n    socket.end();",
    replace: "    socket.end();",
  },
  {
    ...THREAD,
    name: "a failed start of the helper thread leaves Bun's socket open",
    find: "    native.close(threadFd);\n    socket.end();",
    replace: "    native.close(threadFd);",
  },
  {
    ...THREAD,
    name: "the loop's end of the pair is owned twice",
    find: "  native.disown(loopFd);\n",
    replace: "",
  },
  {
    ...NOTIFIER,
    name: "a probe waits without limit",
    find: "reject(new Error(`${message} in ${limitMs} ms`))",
    replace: "void [reject, message]",
  },
  {
    ...NOTIFIER,
    name: "a probe fails if the thread is busy for longer than its limit",
    find: "const LATE_TICKS = 3;",
    replace: "const LATE_TICKS = 0;",
  },
  {
    ...START,
    name: "an error of the first socket is remembered",
    find: "    result = undefined;\n    throw error;",
    replace: "    throw error;",
    tests: SCARCE,
  },
  {
    ...START,
    name: "the mode of the environment variable is ignored",
    find: 'requested === "thread" ? ["thread"] : ["loop", "thread"]',
    replace: '(requested as string) === "threads" ? ["thread"] : ["loop", "thread"]',
  },
  {
    ...START,
    name: "a lack of descriptors is taken for a mode that does not work",
    find: "      if (lack !== undefined) throw lack;\n",
    replace: "      void lack;\n",
    tests: SCARCE,
  },
  {
    ...START,
    name: "the fallback to a helper thread is not reported",
    find: "      if (failures.length > 0) warn(",
    replace: "      if (failures.length > 1) warn(",
  },
];
