/** The proxy's load generator: it must notice whatever can go wrong, or its verdict says nothing. */

import { describe, expect, test } from "bun:test";
import { isIntact, type LoadReport, runLoad } from "../../examples/flow-proxy/load.ts";
import { ANSWER_TIMEOUT_MS } from "../../examples/flow-proxy/load-client.ts";
import { openSocket } from "../../examples/flow-proxy/open.ts";
import { Questions } from "../../examples/flow-proxy/question.ts";
import { DgramBuffer, type SocketAddress, type UdpSocket } from "../../lib/index.ts";
import { runProxy } from "./proxy-process.ts";

type Answer = (
  bytes: Uint8Array,
  peer: SocketAddress,
  index: number,
) => [Uint8Array, SocketAddress][];

/** A server that answers each datagram as `answer` says, until it is disposed. */
async function serve(answer: Answer): Promise<UdpSocket> {
  const socket = await openSocket({ hostname: "127.0.0.1" });
  const work = async () => {
    let index = 0;
    for await (const { length, buffers, meta } of socket.batches()) {
      for (let i = 0; i < length; i++) {
        const bytes = (buffers[i] as DgramBuffer).asSlice().slice();
        for (const [out, to] of answer(bytes, meta[i]?.peer as SocketAddress, index++)) {
          await socket.sendTo(out, to);
        }
      }
    }
  };
  // It ends with the socket.
  work().catch(() => {});
  return socket;
}

async function loadOn(answer: Answer): Promise<LoadReport> {
  await using server = await serve(answer);
  const { address: hostname, port } = server.localAddr;
  // Awaited here: the server is closed when this function returns.
  return await runLoad({ target: { hostname, port }, clients: 4, durationMs: 200 });
}

/** Every 50th, and the 10th: often enough for a short run. */
const isPicked = (index: number) => index % 50 === 10;

describe("the load generator", () => {
  test.concurrent("finds every answer of an honest echo intact", async () => {
    const report = await loadOn((bytes, peer) => [[bytes, peer]]);
    expect(isIntact(report)).toBe(true);
    expect(report.sent).toBeGreaterThan(10);
    expect(report.answered + report.lost).toBe(report.sent);
    expect([report.duplicated, report.socketErrors]).toEqual([0, 0]);
  });

  test.concurrent.each([
    ["its last bit", (bytes: Uint8Array) => bytes.with(-1, (bytes.at(-1) as number) ^ 1)],
    ["its sequence number", (bytes: Uint8Array) => bytes.with(7, (bytes[7] as number) ^ 1)],
    ["its client", (bytes: Uint8Array) => bytes.with(3, (bytes[3] as number) ^ 1)],
    ["its length, by one less", (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ["its length, by one more", (bytes: Uint8Array) => Uint8Array.of(...bytes, 0)],
    ["all of it, to nothing", () => new Uint8Array(0)],
  ])("tells of an answer altered in %s", async (_what, alter) => {
    let altered = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (!isPicked(index)) return [[bytes, peer]];
      altered++;
      return [[alter(bytes), peer]];
    });
    expect(altered).toBeGreaterThan(0);
    expect(report.altered).toBe(altered);
    expect(isIntact(report)).toBe(false);
  });

  test.concurrent("tells of answers to another client's question", async () => {
    const peers: SocketAddress[] = [];
    let swapped = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (!peers.some((known) => known.equals(peer))) peers.push(peer);
      const other = peers.find((known) => !known.equals(peer));
      if (!isPicked(index) || other === undefined) return [[bytes, peer]];
      swapped++;
      return [[bytes, other]];
    });
    expect(swapped).toBeGreaterThan(0);
    expect(report.misdelivered).toBe(swapped);
    expect(isIntact(report)).toBe(false);
  });

  test.concurrent("tells duplicates and losses, which leave the rest intact", async () => {
    let duplicated = 0;
    let dropped = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (isPicked(index)) {
        duplicated++;
        return [
          [bytes, peer],
          [bytes, peer],
        ];
      }
      if (!isPicked(index + 1)) return [[bytes, peer]];
      dropped++;
      return [];
    });
    expect([duplicated > 0, dropped > 0]).toEqual([true, true]);
    expect(report.duplicated).toBe(duplicated);
    expect(report.lost).toBeGreaterThanOrEqual(dropped);
    expect(report.answered + report.lost).toBe(report.sent);
    expect(isIntact(report)).toBe(true);
  });

  test.concurrent("tells of an answer that comes after it was given up", async () => {
    await using server = await openSocket({ hostname: "127.0.0.1" });
    const { address: hostname, port } = server.localAddr;
    const load = runLoad({ target: { hostname, port }, clients: 1, durationMs: 1500 });
    const first = Buffer.alloc(1500);
    const { length, peer } = await server.recvFrom(first);
    const answer = first.subarray(0, length);
    await Bun.sleep(ANSWER_TIMEOUT_MS + 200);
    await server.sendTo(answer, peer as SocketAddress);
    await server.sendTo(answer, peer as SocketAddress);
    const { sent, answered, lost, late, duplicated } = await load;
    expect({ answered, lost, late, duplicated }).toEqual({
      answered: 1,
      lost: sent - 1,
      late: 1,
      duplicated: 1,
    });
  });

  test.concurrent("fails by its exit code when an answer was altered, and when none came", async () => {
    await using server = await serve((bytes, peer) => [[bytes.with(-1, 0), peer]]);
    const target = server.localAddr.toString();
    const altered = await runProxy(["load", "--target", target, "--duration", "0.2", "--json"]);
    expect(altered.code).toBe(1);
    expect(JSON.parse(altered.stdout).load.altered).toBeGreaterThan(0);
    server.close();
    const silent = await runProxy(["load", "--target", target, "--duration", "0.2"]);
    expect([silent.code, silent.stdout]).toEqual([1, expect.stringContaining("FAILED: no answer")]);
  }, 30_000);
});

test("questions differ by client and sequence, and have lengths from 64 to 1200", () => {
  const questions = new Questions();
  const others = new Questions();
  const buffer = DgramBuffer.withCapacity(1200);
  const lengths = new Set<number>();
  for (let client = 0; client < 50; client++) {
    for (let sequence = 0; sequence < 200; sequence++) {
      buffer.clear();
      questions.write(buffer, client, sequence);
      lengths.add(buffer.length);
      const answer = Buffer.alloc(2000);
      answer.set(buffer.asSlice());
      expect(questions.check(answer, buffer.length, client)).toBe(sequence);
      expect(questions.check(answer, buffer.length, client + 1)).toBe("misdelivered");
      expect(others.check(answer, buffer.length, client)).toBe("altered");
    }
  }
  expect([Math.min(...lengths), Math.max(...lengths)]).toEqual([64, 1200]);
});
