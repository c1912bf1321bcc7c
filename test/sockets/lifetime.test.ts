/** What keeps the process alive, what survives a garbage collection, and what a close leaves. */

import { describe, expect, test } from "bun:test";
import { DgramBuffer, UdpSocket } from "../../lib/index.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  connectedPair,
  endedWell,
  nextTurn,
  numbered,
  numberOf,
  rejection,
  runScript,
  sequence,
} from "../tools/sockets.ts";

/** 0: the process ended by itself; 7: it was kept alive. */
const SCENARIOS: Record<string, number> = {
  open: 7,
  close: 0,
  unref: 0,
  "unref twice, ref once": 7,
  "ref twice, unref once": 0,
  "unref, close": 0,
  "close, ref": 0,
  "receive, unref": 0,
  "unref, receive": 0,
  "receive, close": 0,
  "two, one closed": 7,
  "two, both unref": 0,
  "sends to a full peer, unref": 0,
  forgotten: 7,
};

describe("the process is kept alive as Bun's own socket keeps it", () => {
  const kinds = ["bun", ...BACKENDS, "unix"];
  test.each(Object.entries(SCENARIOS))(
    "%s",
    async (scenario, expected) => {
      // What ends by itself gets all the time that a busy machine may need for it.
      const whileMs = expected === 0 ? "20000" : "200";
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

describe.each(BACKENDS)("%s backend", (backend) => {
  test(
    "wakers that throw are reported, and nobody else is harmed",
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
    "a process that ends in the call that tells of a datagram ends with its exit code",
    async () => {
      const child = await runScript("exit-in-waker.ts", { args: [backend] });
      expect([child.exitCode, child.signal, child.stderr]).toEqual([42, null, ""]);
    },
    CHILD_TIMEOUT_MS,
  );

  test("buffers that only a receive refers to survive collections", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (let round = 0; round < 20; round++) {
      // The buffers go out of sight; small ones live in the heap that is collected.
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

  test("batches into fresh buffers stay right with a collection between any two", async () => {
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

  test("a socket that only its receive refers to is not collected", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const open = async () => {
      const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
      return { address: socket.localAddr, received: socket.recv(new Uint8Array(9)) };
    };
    const { address, received } = await open();
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      await nextTurn();
    }
    await receiver.sendTo(new Uint8Array(5), address);
    expect(await received).toBe(5);
    sender.close();
    receiver.close();
  });

  test("a thousand receives that are aborted leave nothing behind that is called later", async () => {
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

test("close settles a promise whose waker another poll replaced", async () => {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
  const waiting = socket.recv(new Uint8Array(8));
  socket.pollRecv(() => {}, new Uint8Array(8));
  socket.close();
  await expect(waiting).rejects.toMatchObject({ code: "ERR_SOCKET_CLOSED" });
});
