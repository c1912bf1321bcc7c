/** Lifetimes: `ref` and `unref`, garbage collection, wakers that throw or exit, and close. */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, UdpSocket } from "../../lib/index.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  connectedPair,
  endedWell,
  nextTick,
  numbered,
  numberOf,
  rejection,
  runScript,
  sequence,
} from "../tools/sockets.ts";

const EXITS = "lets the process exit";
const STAYS = "keeps the process alive";

/** Scenarios of keep-alive.ts, their titles, and what the socket does. */
const SCENARIOS: readonly [scenario: string, title: string, effect: typeof EXITS | typeof STAYS][] =
  [
    ["open", "an open socket", STAYS],
    ["close", "a closed socket", EXITS],
    ["unref", "a socket after unref", EXITS],
    ["unref twice, ref once", "a socket after two unref and one ref", STAYS],
    ["ref twice, unref once", "a socket after two ref and one unref", EXITS],
    ["unref, close", "a socket after unref and close", EXITS],
    ["close, ref", "a socket after close and ref", EXITS],
    ["receive, unref", "a socket with a pending receive, then unref,", EXITS],
    ["unref, receive", "a socket after unref, with a pending receive,", EXITS],
    ["receive, close", "a socket with a pending receive, then close,", EXITS],
    ["two, one closed", "an open socket next to a closed one", STAYS],
    ["two, both unref", "a pair of sockets after unref of both", EXITS],
    ["sends to a full peer, unref", "a socket with a pending send, then unref,", EXITS],
    ["transfers all the time, unref", "a socket after unref that transfers all the time", EXITS],
    ["forgotten", "an open socket without references, after garbage collection,", STAYS],
  ];

describe("process lifetime, as with Bun.udpSocket", () => {
  const kinds = ["bun", ...BACKENDS, "unix"];
  test.each(SCENARIOS.map(([scenario, title, effect]) => ({ scenario, title, effect })))(
    "$title $effect",
    async ({ scenario, effect }) => {
      // The exit code of a child process that was still alive is 7.
      const expected = effect === EXITS ? 0 : 7;
      // A process that should exit by itself gets all the time that it may need on a busy machine.
      const whileMs = effect === EXITS ? "20000" : "200";
      const children = await Promise.all(
        kinds.map((kind) => runScript("keep-alive.ts", { args: [kind, scenario, whileMs] })),
      );
      const ends = children.map(({ exitCode, signal, stderr }, i) => {
        if (exitCode !== expected) console.error(stderr);
        return [kinds[i], exitCode, signal];
      });
      expect(ends).toEqual(kinds.map((kind) => [kind, expected, null]));
    },
    CHILD_TIMEOUT_MS,
  );
});

test.each([
  ["open", STAYS, 7],
  ["close", EXITS, 0],
] as const)(
  "an AsyncFd that is opened, scenario %s, %s",
  async (scenario, _, exitCode) => {
    const whileMs = exitCode === 0 ? "20000" : "200";
    const child = await runScript("keep-alive.ts", { args: ["AsyncFd", scenario, whileMs] });
    expect([child.exitCode, child.stderr]).toEqual([exitCode, child.stderr]);
  },
  CHILD_TIMEOUT_MS,
);

describe.each(BACKENDS)("UDP socket, %s backend", (backend) => {
  test(
    "an error thrown by a waker is reported, and does not affect other sockets",
    async () => {
      const child = await runScript("throwing-wakers.ts", { args: [backend] });
      expect(JSON.parse(endedWell(child))).toEqual({
        reported: ["of a waker", "of a waker"],
        length: 1,
        own: 1,
        isThrown: false,
        isOpen: false,
        after: 1,
      });
    },
    CHILD_TIMEOUT_MS,
  );

  test(
    "process.exit in a waker ends the process with its exit code",
    async () => {
      const child = await runScript("exit-in-waker.ts", { args: [backend] });
      expect([child.exitCode, child.signal, child.stderr]).toEqual([42, null, ""]);
    },
    CHILD_TIMEOUT_MS,
  );

  test("a pending receive keeps its buffer alive during garbage collections", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (let round = 0; round < 20; round++) {
      // Only the receive refers to its buffer. A small one is stored in the collected heap.
      const waiting = sequence(8).map(async () => {
        const buf = new Uint8Array(8);
        await receiver.recv(buf);
        return numberOf(buf);
      });
      Bun.gc(true);
      await sender.sendMany(numbered(8, 100 * round));
      Bun.gc(true);
      expect(await Promise.all(waiting)).toEqual(sequence(8, 100 * round));
    }
    sender.close();
    receiver.close();
  });

  test("batches arrive intact with a garbage collection before every call", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (let round = 0; round < 30; round++) {
      const first = 64 * round;
      const payloads = numbered(64, first, 4 + round);
      const sending = payloads.map((bytes, i) => (i % 2 ? DgramBuffer.fromSlice(bytes) : bytes));
      Bun.gc(true);
      expect(await sender.sendMany(sending)).toBe(64);
      const bufs = sequence(64).map((i) =>
        i % 2 ? DgramBuffer.withCapacity(64) : new Uint8Array(64),
      );
      let got = 0;
      while (got < 64) {
        Bun.gc(true);
        got += await receiver.recvMany(bufs, { start: got });
      }
      Bun.gc(true);
      const numbers = bufs.map((buf) => numberOf(buf instanceof DgramBuffer ? buf.asSlice() : buf));
      expect(numbers).toEqual(sequence(64, first));
    }
    sender.close();
    receiver.close();
  });

  test("a pending receive keeps its socket alive during garbage collections", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const open = async () => {
      const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      return { address: socket.localAddr, received: socket.recv(new Uint8Array(9)) };
    };
    const { address, received } = await open();
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      await nextTick();
    }
    await receiver.sendTo(new Uint8Array(5), address);
    expect(await received).toBe(5);
    sender.close();
    receiver.close();
  });

  test("after 1000 aborted receives the next one gets the next datagram", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const abort = new AbortController();
    const waiting = sequence(1000).map(() =>
      rejection(receiver.recv(new Uint8Array(4), { signal: abort.signal })),
    );
    abort.abort();
    await Promise.all(waiting);
    await sender.send(numbered(1, 5)[0] as Uint8Array);
    const buf = new Uint8Array(4);
    await receiver.recv(buf);
    expect(numberOf(buf)).toBe(5);
    sender.close();
    receiver.close();
  });
});

test("close rejects a pending receive whose waker was replaced by another poll", async () => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const waiting = socket.recv(new Uint8Array(8));
  socket.pollRecv(() => {}, new Uint8Array(8));
  socket.close();
  await expect(waiting).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
});
