/** `RecvRange`: the part of an array of buffers that `recvMany` fills. */

import { describe, expect, test } from "bun:test";
import {
  DatagramPair,
  type DatagramSocket,
  DgramBuffer,
  RecvMeta,
  UdpSocket,
} from "../../lib/index.ts";

async function udpPair(backend: "native" | "portable"): Promise<[DatagramSocket, DatagramSocket]> {
  const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
  const peer = { hostname: "127.0.0.1", port: receiver.localAddr.port };
  return [await UdpSocket.connect(peer, { backend }), receiver];
}

/** Functions that open a sender and a receiver. */
const kinds: Record<string, () => Promise<[DatagramSocket, DatagramSocket]>> = {
  "a DatagramPair (base methods)": async () => DatagramPair.create(),
  "the native backend": () => udpPair("native"),
  "the portable backend": () => udpPair("portable"),
};

async function receiveAll(
  socket: DatagramSocket,
  buffers: DgramBuffer[],
  { meta, start, count }: { meta: RecvMeta[]; start: number; count: number },
): Promise<void> {
  for (let done = 0; done < count; ) {
    done += await socket.recvMany(buffers, { meta, start: start + done, count: count - done });
  }
}

describe.each(Object.keys(kinds))("recvMany on %s", (kind) => {
  test("fills count buffers and metadata objects from start on, and no others", async () => {
    const [sender, receiver] = await (
      kinds[kind] as () => Promise<[DatagramSocket, DatagramSocket]>
    )();
    try {
      const buffers = Array.from({ length: 6 }, () => DgramBuffer.withCapacity(100));
      const meta = Array.from({ length: 6 }, () => new RecvMeta());
      await sender.sendMany([1, 2, 3].map((byte) => Uint8Array.of(byte)));
      await receiveAll(receiver, buffers, { meta, start: 2, count: 3 });
      expect(buffers.map((buffer) => [...buffer.asSlice()])).toEqual([[], [], [1], [2], [3], []]);
      expect(meta.map(({ length }) => length)).toEqual([0, 0, 1, 1, 1, 0]);
    } finally {
      for (const socket of [sender, receiver])
        (socket as DatagramSocket & Disposable)[Symbol.dispose]();
    }
  });

  test("rejects a range beyond the array, and returns 0 for an empty range", async () => {
    const [sender, receiver] = await (
      kinds[kind] as () => Promise<[DatagramSocket, DatagramSocket]>
    )();
    try {
      const buffers = [new Uint8Array(10), new Uint8Array(10)];
      expect(receiver.recvMany(buffers, { start: 3 })).rejects.toThrow(RangeError);
      expect(receiver.recvMany(buffers, { start: 1, count: 2 })).rejects.toThrow(RangeError);
      expect(receiver.recvMany(buffers, { start: -1 })).rejects.toThrow(RangeError);
      expect(receiver.recvMany(buffers, { start: 2 })).resolves.toBe(0);
    } finally {
      for (const socket of [sender, receiver])
        (socket as DatagramSocket & Disposable)[Symbol.dispose]();
    }
  });
});
