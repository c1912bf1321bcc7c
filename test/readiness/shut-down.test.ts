/** Sockets that epoll always reports as ready although they have no datagram: no busy loop. */

import { expect, test } from "bun:test";
import { AsyncFd } from "../../lib/index.ts";
import { loadedNative } from "../ffi/tools.ts";
import { CHILD_TIMEOUT_MS, endedWell, rejection, runScript } from "../tools/sockets.ts";

const CALLS_MAX = 200;
const CPU_MS_MAX = 150;

test.each([
  { kind: "UDP", half: "receive", mode: "loop" },
  { kind: "UDP", half: "receive", mode: "thread" },
  { kind: "UDP", half: "both", mode: "loop" },
  { kind: "UDP", half: "handler", mode: "loop" },
  { kind: "Unix", half: "receive", mode: "loop" },
  { kind: "AsyncFd", half: "receive", mode: "loop" },
])(
  "a pending receive on $kind whose halves are shut down ($half) uses little time, mode $mode",
  async ({ kind, half, mode }) => {
    const child = await runScript("shut-down.ts", {
      args: [kind, half],
      env: { DATAGRAM_SOCKET_READINESS: mode },
    });
    const { cpuMs, calls, length } = JSON.parse(endedWell(child));
    expect(calls).toBeLessThan(CALLS_MAX);
    expect(cpuMs).toBeLessThan(CPU_MS_MAX);
    if (kind === "UDP") expect(length).toBe(7);
  },
  CHILD_TIMEOUT_MS,
);

const native = loadedNative();

test("AsyncFd.open of a descriptor that is not open fails with EBADF", async () => {
  const fd = native.open(2, 2, 0);
  native.close(fd);
  expect(await rejection(AsyncFd.open(fd))).toMatchObject({ name: "SocketError", code: "EBADF" });
});

test("an AsyncFd whose descriptor is closed meanwhile wakes its waiter a few times only", async () => {
  const fd = native.open(2, 2, 0);
  using ready = await AsyncFd.open(fd);
  native.close(fd);
  let wakes = 0;
  let isDone = false;
  const wait = () => {
    wakes++;
    if (!isDone) ready.waitReadable(wait);
  };
  ready.waitReadable(wait);
  await Bun.sleep(100);
  isDone = true;
  expect(wakes).toBeGreaterThan(0);
  expect(wakes).toBeLessThan(CALLS_MAX);
});
