/**
 * Unix datagrams: reliable and ordered while the peer exists. A full queue delays the sender and
 * loses nothing; a peer that dies makes sends fail, and a new peer at the same path is served.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { temporaryDirectory } from "../ffi/tools.ts";
import { amount, Program, TEST_TIMEOUT_MS } from "./tools.ts";

const COUNT = amount(5000, 1500);

/** The address of a receiver, and how fast it reads. */
interface UnixReceiver {
  readonly path: string;
  readonly pauseMs: number;
}

/** Starts a receiver bound to a path, which says its report when it is told to. */
function startReceiver(options: UnixReceiver) {
  return Program.start(
    undefined,
    async ({ lib, traffic, talk }, { path, pauseMs }: UnixReceiver) => {
      const { rmSync } = await import("node:fs");
      rmSync(path, { force: true });
      const socket = await lib.UnixDatagram.bind(path);
      const tally = new traffic.Tally();
      const receiving = (async () => {
        for await (const { length, buffers } of socket.batches()) {
          for (let i = 0; i < length; i++) tally.add(buffers[i]?.asSlice() as Uint8Array);
          if (pauseMs > 0) await Bun.sleep(pauseMs);
        }
      })();
      talk.say("bound");
      await talk.hear();
      for (let before = -1; before !== tally.received; ) {
        before = tally.received;
        await Bun.sleep(250);
      }
      socket.close();
      await receiving;
      return tally.report();
    },
    options,
  );
}

/** Starts a sender that sends to a path when it is told to, and says the result. */
function startSender(path: string) {
  return Program.start(
    undefined,
    async ({ lib, traffic, talk }, path: string) => {
      const socket = await lib.UnixDatagram.unbound();
      talk.say("opened");
      const to = lib.SocketAddress.unix(path);
      for (;;) {
        const plan = (await talk.hear()) as { count: number; first: number };
        talk.say(await traffic.sendNumbered(lib, socket, { ...plan, pauseMs: 0 }, to));
      }
    },
    path,
  );
}

interface Sent {
  readonly accepted: number;
  readonly refused: readonly (readonly [number, string])[];
}

describe("Unix datagrams", () => {
  const directory = temporaryDirectory();
  afterAll(() => directory[Symbol.dispose]());

  test(
    "a slow peer with a full queue: sent = delivered, in order",
    async () => {
      const path = join(directory.path, "slow");
      await using receiver = startReceiver({ path, pauseMs: 1 });
      await receiver.said();
      await using sender = startSender(path);
      await sender.said();
      sender.tell({ count: COUNT, first: 0 });
      const sent = await sender.said<Sent>();
      receiver.tell();
      const got = await receiver.result();
      expect(sent).toMatchObject({ accepted: COUNT, refused: [] });
      expect(got).toMatchObject({ received: COUNT, ranges: [[0, COUNT - 1]], late: 0, altered: 0 });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a peer that is stopped while its queue is full: the sends wait, then all are delivered",
    async () => {
      const path = join(directory.path, "stopped");
      await using receiver = startReceiver({ path, pauseMs: 0 });
      await receiver.said();
      await using sender = startSender(path);
      await sender.said();
      receiver.kill("SIGSTOP");
      sender.tell({ count: COUNT, first: 0 });
      await Bun.sleep(200);
      receiver.kill("SIGCONT");
      const sent = await sender.said<Sent>();
      receiver.tell();
      const got = await receiver.result();
      expect(sent).toMatchObject({ accepted: COUNT, refused: [] });
      expect(got).toMatchObject({ received: COUNT, ranges: [[0, COUNT - 1]], late: 0, altered: 0 });
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a peer that is killed while a send waits for it: the send fails, and a new peer is served",
    async () => {
      const path = join(directory.path, "killed");
      const first = startReceiver({ path, pauseMs: 0 });
      await first.said();
      await using sender = startSender(path);
      await sender.said();
      first.kill("SIGSTOP");
      sender.tell({ count: 100, first: 0 });
      await Bun.sleep(100);
      await first[Symbol.asyncDispose]();
      const lost = await sender.said<Sent>();
      await using second = startReceiver({ path, pauseMs: 0 });
      await second.said();
      sender.tell({ count: 500, first: 1000 });
      const again = await sender.said<Sent>();
      second.tell();
      const got = await second.result();
      expect(lost.accepted + lost.refused.length).toBe(100);
      expect(lost.refused.length).toBeGreaterThan(0);
      expect(new Set(lost.refused.map(([, code]) => code))).toEqual(new Set(["ECONNREFUSED"]));
      expect(again).toMatchObject({ accepted: 500, refused: [] });
      expect(got.ranges).toEqual([[1000, 1499]]);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a connected peer that is killed while a send waits: the send fails, nothing hangs",
    async () => {
      const path = join(directory.path, "connected");
      const receiver = startReceiver({ path, pauseMs: 0 });
      await receiver.said();
      await using sender = Program.start(
        undefined,
        async ({ lib, traffic, talk }, path: string) => {
          const socket = await lib.UnixDatagram.unbound({ connect: path });
          talk.say("connected");
          return traffic.sendNumbered(lib, socket, { count: 100, pauseMs: 0 });
        },
        path,
      );
      receiver.kill("SIGSTOP");
      await sender.said();
      await Bun.sleep(100);
      await receiver[Symbol.asyncDispose]();
      const sent = await sender.result();
      expect(sent.accepted + sent.refused.length).toBe(100);
      expect(sent.refused.length).toBeGreaterThan(0);
      const codes = new Set(sent.refused.map(([, code]) => code));
      expect(
        [...codes].every((code) => ["ECONNREFUSED", "ECONNRESET", "ENOTCONN"].includes(code)),
      ).toBe(true);
    },
    TEST_TIMEOUT_MS,
  );
});
