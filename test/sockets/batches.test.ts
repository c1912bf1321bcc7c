/** `batches()` on real sockets: what ends the iteration, and what happens to long datagrams. */

import { describe, expect, test } from "bun:test";
import { RecvBatch, RecvMeta, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { BACKENDS, closedPort, connectedPair, until } from "../tools/sockets.ts";

describe.each(BACKENDS)("batches, %s backend", (backend) => {
  test("an ICMP error about an earlier datagram does not end the iteration", async () => {
    const port = await closedPort();
    const socket = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend });
    const lengths: number[] = [];
    const iterating = (async () => {
      for await (const batch of socket.batches()) {
        for (let i = 0; i < batch.length; i++) lengths.push(batch.buffers[i]?.length as number);
        if (lengths.includes(5)) break;
      }
      return "left the loop";
    })();
    for (let i = 0; i < 3; i++) {
      await socket.send(new Uint8Array(1)).catch(() => {});
      await until(() => socket.counters.receiveErrors + socket.counters.sendErrors > i);
    }
    // A peer appears at the port, and sends.
    const peer = await UdpSocket.bind({ hostname: "127.0.0.1", port });
    await peer.sendTo(new Uint8Array(5), socket.localAddr);
    expect(await iterating).toBe("left the loop");
    expect(lengths).toEqual([5]);
    socket.close();
    peer.close();
  });

  test("close ends the iteration without an error, while it waits and between steps", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const steps: number[] = [];
    const iterating = (async () => {
      for await (const batch of receiver.batches()) steps.push(batch.length);
    })();
    await sender.send(new Uint8Array(1));
    await until(() => steps.length === 1);
    receiver.close();
    await iterating;
    expect(steps).toEqual([1]);
    // On a closed socket it ends at once.
    for await (const _ of receiver) throw new Error("no step expected");
    sender.close();
  });

  test("datagrams longer than payloadBytesMax are skipped and counted", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const sizes = [4000, 10, 1501, 1500, 3000, 20];
    for (const size of sizes) await sender.send(new Uint8Array(size));
    const seen = await collect(receiver, 3);
    expect(seen).toEqual({ lengths: [10, 1500, 20], skipped: 3, truncated: 0 });
    expect(receiver.counters.datagramsTruncated).toBe(3);
    sender.close();
    receiver.close();
  });

  test("keepTruncated yields them truncated, with their real length", async () => {
    const { receiver, sender } = await connectedPair(backend);
    for (const size of [4000, 10]) await sender.send(new Uint8Array(size));
    const seen: number[][] = [];
    for await (const batch of receiver.batches({ keepTruncated: true, payloadBytesMax: 100 })) {
      for (let i = 0; i < batch.length; i++) {
        const meta = batch.meta[i] as RecvMeta;
        seen.push([batch.buffers[i]?.length as number, meta.length, meta.datagramLength]);
      }
      expect(batch.skipped).toBe(0);
      if (seen.length >= 2) break;
    }
    expect(seen).toEqual([
      [100, 100, 4000],
      [10, 10, 10],
    ]);
    sender.close();
    receiver.close();
  });

  async function collect(receiver: UdpSocket, count: number) {
    const lengths: number[] = [];
    let skipped = 0;
    let truncated = 0;
    for await (const batch of receiver.batches()) {
      for (let i = 0; i < batch.length; i++) {
        lengths.push(batch.buffers[i]?.length as number);
        if (batch.meta[i]?.truncated) truncated++;
      }
      skipped = batch.skipped;
      if (lengths.length >= count) break;
    }
    return { lengths, skipped, truncated };
  }
});

describe.skipIf(process.platform !== "linux")("a RecvBatch on a UnixDatagram", () => {
  test("reports a datagram that is longer than 64 KiB as truncated, with its real length", async () => {
    const options = { sendBufferBytes: 400_000, receiveBufferBytes: 400_000 };
    const [left, right] = await UnixDatagram.pair(options);
    if (left.bufferBytes.send < 300_000) {
      console.warn(`a long Unix datagram is not tested: wmem_max allows ${left.bufferBytes.send}`);
    } else {
      await left.send(new Uint8Array(100_000).fill(7));
      await left.send(new Uint8Array(65_536));
      const batch = new RecvBatch();
      while (batch.length < 2) await right.recvBatch(batch);
      const metas = [0, 1].map((i) => batch.metaAt(i, new RecvMeta()));
      expect(metas.map((meta) => [meta.length, meta.datagramLength, meta.truncated])).toEqual([
        [65_536, 100_000, true],
        [65_536, 65_536, false],
      ]);
      expect(right.counters.datagramsTruncated).toBe(1);
      // Not counted again by the next receive.
      await left.send(new Uint8Array(10));
      expect(await right.recvBatch(batch)).toBe(1);
      expect(right.counters.datagramsTruncated).toBe(1);
    }
    left.close();
    right.close();
  });
});
