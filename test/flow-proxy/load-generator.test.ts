/** Tests of the proxy's load generator: it must detect every kind of wrong reply. */

import { describe, expect, test } from "bun:test";
import { REPLY_TIMEOUT_MS } from "../../examples/flow-proxy/load-client.ts";
import { hasPassed, type LoadReport, runLoad } from "../../examples/flow-proxy/load-generator.ts";
import { openSocket } from "../../examples/flow-proxy/open-socket.ts";
import { RequestGenerator, RUN_REQUESTS } from "../../examples/flow-proxy/request.ts";
import type { DgramBuffer, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { runProxy } from "./proxy-process.ts";

/** Returns the replies to a request, and their destinations. */
type Handler = (
  bytes: Uint8Array,
  peer: SocketAddress,
  index: number,
) => [Uint8Array, SocketAddress][];

/** Starts a server that sends the replies that `handler` returns. It stops when it is closed. */
async function serve(handler: Handler): Promise<UdpSocket> {
  const socket = await openSocket({ hostname: "127.0.0.1" });
  const work = async () => {
    let index = 0;
    for await (const { length, buffers, meta } of socket.batches()) {
      for (let i = 0; i < length; i++) {
        const bytes = (buffers[i] as DgramBuffer).asSlice().slice();
        for (const [out, to] of handler(bytes, meta[i]?.peer as SocketAddress, index++)) {
          await socket.sendTo(out, to);
        }
      }
    }
  };
  // Rejects when the socket is closed.
  work().catch(() => {});
  return socket;
}

/** Runs the load generator on a server. */
async function loadOn(handler: Handler): Promise<LoadReport> {
  await using server = await serve(handler);
  const { address: hostname, port } = server.localAddr;
  // Awaited here: the server is closed when this function returns.
  return await runLoad({ target: { hostname, port }, clients: 4, durationMs: 200 });
}

/** Selects request 10 and every 50th after it: enough of them in a short run. */
const isSelected = (index: number) => index % 50 === 10;

describe("the load generator", () => {
  test.concurrent("accepts every reply of an echo server", async () => {
    const report = await loadOn((bytes, peer) => [[bytes, peer]]);
    expect(hasPassed(report)).toBe(true);
    expect(report.requests).toBeGreaterThan(10);
    expect(report.replies + report.lost).toBe(report.requests);
    expect([report.duplicated, report.socketErrors]).toEqual([0, 0]);
  });

  test.concurrent.each([
    ["its last bit flipped", (bytes: Uint8Array) => bytes.with(-1, (bytes.at(-1) as number) ^ 1)],
    ["another sequence number", (bytes: Uint8Array) => bytes.with(7, (bytes[7] as number) ^ 1)],
    ["another client number", (bytes: Uint8Array) => bytes.with(3, (bytes[3] as number) ^ 1)],
    ["its last byte missing", (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ["an additional byte", (bytes: Uint8Array) => Uint8Array.of(...bytes, 0)],
    ["no bytes", () => new Uint8Array(0)],
  ])("reports a reply with %s as altered", async (_change, alter) => {
    let altered = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (!isSelected(index)) return [[bytes, peer]];
      altered++;
      return [[alter(bytes), peer]];
    });
    expect(altered).toBeGreaterThan(0);
    expect(report.altered).toBe(altered);
    expect(hasPassed(report)).toBe(false);
  });

  test.concurrent("reports a reply to another client's request as misdelivered", async () => {
    const peers: SocketAddress[] = [];
    let swapped = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (!peers.some((known) => known.equals(peer))) peers.push(peer);
      const other = peers.find((known) => !known.equals(peer));
      if (!isSelected(index) || other === undefined) return [[bytes, peer]];
      swapped++;
      return [[bytes, other]];
    });
    expect(swapped).toBeGreaterThan(0);
    expect(report.misdelivered).toBe(swapped);
    expect(hasPassed(report)).toBe(false);
  });

  test.concurrent("counts duplicated replies and lost requests, and passes", async () => {
    let duplicated = 0;
    let dropped = 0;
    const report = await loadOn((bytes, peer, index) => {
      if (isSelected(index)) {
        duplicated++;
        return [
          [bytes, peer],
          [bytes, peer],
        ];
      }
      if (!isSelected(index + 1)) return [[bytes, peer]];
      dropped++;
      return [];
    });
    expect([duplicated > 0, dropped > 0]).toEqual([true, true]);
    expect(report.duplicated).toBe(duplicated);
    expect(report.lost).toBeGreaterThanOrEqual(dropped);
    expect(report.replies + report.lost).toBe(report.requests);
    expect(hasPassed(report)).toBe(true);
  });

  test.concurrent("counts a reply after the timeout as late, another as duplicated", async () => {
    await using server = await openSocket({ hostname: "127.0.0.1" });
    const { address: hostname, port } = server.localAddr;
    const load = runLoad({ target: { hostname, port }, clients: 1, durationMs: 1500 });
    const buffer = Buffer.alloc(1500);
    const { length, peer } = await server.recvFrom(buffer);
    const request = buffer.subarray(0, length);
    await Bun.sleep(REPLY_TIMEOUT_MS + 200);
    await server.sendTo(request, peer as SocketAddress);
    await server.sendTo(request, peer as SocketAddress);
    const { requests, replies, lost, late, duplicated } = await load;
    expect({ replies, lost, late, duplicated }).toEqual({
      replies: 1,
      lost: requests - 1,
      late: 1,
      duplicated: 1,
    });
  });

  test.concurrent("exits with code 1 if a reply is altered, and if there is no reply", async () => {
    await using server = await serve((bytes, peer) => [[bytes.with(-1, 0), peer]]);
    const target = server.localAddr.toString();
    const altered = await runProxy(["load", "--target", target, "--duration", "0.2", "--json"]);
    expect(altered.code).toBe(1);
    expect(JSON.parse(altered.stdout).load.altered).toBeGreaterThan(0);
    server.close();
    const silent = await runProxy(["load", "--target", target, "--duration", "0.2"]);
    expect([silent.code, silent.stdout]).toEqual([
      1,
      expect.stringContaining("FAILED: no valid reply"),
    ]);
  }, 30_000);
});

test("requests differ by client and sequence number, and the last one of a run is short", () => {
  const generator = new RequestGenerator();
  const otherGenerator = new RequestGenerator();
  const offset = 3;
  const bytes = Buffer.alloc(2000);
  const lengths = new Set<number>();
  const contents = new Set<string>();
  for (let client = 0; client < 50; client++) {
    for (let sequence = 0; sequence < 5 * RUN_REQUESTS; sequence++) {
      const length = generator.write(bytes, offset, client, sequence);
      const isLast = sequence % RUN_REQUESTS === RUN_REQUESTS - 1;
      if (isLast) lengths.add(length);
      else expect(length).toBe(1200);
      contents.add(bytes.toString("latin1", offset, offset + length));
      expect(generator.checkReply(bytes, offset, length, client)).toBe(sequence);
      expect(generator.checkReply(bytes, offset, length, client + 1)).toBe("misdelivered");
      expect(otherGenerator.checkReply(bytes, offset, length, client)).toBe("altered");
    }
  }
  expect(contents.size).toBe(50 * 5 * RUN_REQUESTS);
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(64);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(1200);
  expect(lengths.size).toBeGreaterThan(100);
});
