/**
 * Too little room for control messages: the kernel tells so (MSG_CTRUNC), leaves out what does not
 * fit, and the library reads no stride where there is none. Sockets of the library have the room.
 */

import { describe, expect, test } from "bun:test";
import { RecvBatch, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { readStride } from "../../lib/linux/recv-cmsg.ts";
import { datagramsOf, expectSame, NO_OFFLOAD_REASON, receiveAll, times } from "../tools/offload.ts";
import { loadedNative } from "./tools.ts";

/** Level and name of UDP_GRO, and of socket and IP options that tell more of each datagram. */
const UDP_GRO = [17, 104] as const;
const TELLING = [
  [1, 35], // SO_TIMESTAMPNS
  [1, 40], // SO_RXQ_OVFL
  [1, 75], // SO_RCVMARK
  [0, 8], // IP_PKTINFO
  [0, 12], // IP_RECVTTL
  [0, 13], // IP_RECVTOS
  [0, 20], // IP_RECVORIGDSTADDR
] as const;
/** More than there is room for, for datagrams that have IP options: two copies of those. */
const TELLING_TOO_MUCH = [
  ...TELLING,
  [1, 37], // SO_TIMESTAMPING, with software timestamps of what is received
  [0, 6], // IP_RECVOPTS
  [0, 7], // IP_RETOPTS
] as const;
const SOF_TIMESTAMPING_RX_SOFTWARE = 1 << 3;
const SOF_TIMESTAMPING_SOFTWARE = 1 << 4;
/** Level and name of IP_OPTIONS, and the longest value: 40 times "no operation" (RFC 791). */
const IP_OPTIONS = [0, 4] as const;
const NO_OPERATIONS = new Uint8Array(40).fill(1);
const NAME_CAPACITY = 28;
const SLOT_BYTES = 65_536;

const native = loadedNative();

/** A bound descriptor of nobody's, which coalesces. */
async function coalescingDescriptor(): Promise<{ fd: number; port: number }> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  const { port } = socket.localAddr;
  const fd = socket.intoFd() as number;
  expect(native.setIntOption(fd, ...UDP_GRO, 1)).toBe(0);
  return { fd, port };
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("coalesced segments", () => {
  test.each([
    { room: 0, stride: 0, isCut: true },
    { room: 8, stride: 0, isCut: true },
    { room: 16, stride: 0, isCut: true },
    { room: 24, stride: 100, isCut: false },
    { room: 256, stride: 100, isCut: false },
  ])("with $room bytes of room for control messages: %j", async ({ room, stride, isCut }) => {
    const { fd, port } = await coalescingDescriptor();
    await using sender = await UdpSocket.connect({ hostname: "127.0.0.1", port });
    await sender.sendMany(datagramsOf(times(5, 100)));
    const vector = native.receiveVector(NAME_CAPACITY, room);
    vector.reserve(1);
    vector.setView(0, new Uint8Array(new ArrayBuffer(SLOT_BYTES)));
    expect([vector.receive(fd, 0, 1), vector.lengthAt(0)]).toEqual([1, 500]);
    expect(vector.isControlTruncatedAt(0)).toBe(isCut);
    const bytes = vector.controlLengthAt(0);
    expect(bytes).toBeLessThanOrEqual(room);
    expect(readStride(vector.words, vector.controlIndex(0), bytes)).toBe(stride);
    native.close(fd);
  });

  test("come apart on an adopted descriptor that tells of everything else too", async () => {
    const { fd, port } = await coalescingDescriptor();
    for (const [level, name] of TELLING) native.setIntOption(fd, level, name, 1);
    await using receiver = await UdpSocket.fromFd(fd);
    await using sender = await UdpSocket.connect({ hostname: "127.0.0.1", port });
    receiver.enableMetadata();
    const sent = datagramsOf([...times(60, 700), 30]);
    await sender.sendMany(sent);
    expectSame(await receiveAll(receiver, sent.length), sent);
    expect(receiver.counters.messagesReceived).toBe(1);
  });
});

describe("an adopted descriptor that tells more than there is room for", () => {
  /** Both ends; each datagram has more control messages than fit. */
  async function openEnds(usesGro: boolean) {
    const bound = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
    const { port } = bound.localAddr;
    const fd = bound.intoFd() as number;
    for (const [level, name] of TELLING_TOO_MUCH) {
      const timestamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
      expect(native.setIntOption(fd, level, name, name === 37 ? timestamps : 1)).toBe(0);
    }
    const sender = await UdpSocket.connect({ hostname: "127.0.0.1", port }, { backend: "native" });
    expect(native.setOption(sender.asRawIo() as number, ...IP_OPTIONS, NO_OPERATIONS)).toBe(0);
    return { receiver: await UdpSocket.fromFd(fd, { offload: usesGro }), sender };
  }

  test.each([
    ["recvMany", true],
    ["recvMany", false],
    ["recvBatch", true],
    ["recvBatch", false],
  ] as const)("%s says so, with gro %p, and loses no byte", async (way, usesGro) => {
    const { receiver, sender } = await openEnds(usesGro);
    const sent = datagramsOf([100, 200]);
    const metas = sent.map(() => new RecvMeta());
    const bytes = sent.map(() => new Uint8Array(300));
    const batch = new RecvBatch();
    const receive = async () => {
      for (const datagram of sent) expect(await sender.send(datagram)).toBe(datagram.length);
      if (way === "recvMany") return receiver.recvMany(bytes, { meta: metas });
      const count = await receiver.recvBatch(batch);
      for (let i = 0; i < count; i++) {
        batch.metaAt(i, metas[i]);
        bytes[i]?.set(batch.payload(i));
      }
      return count;
    };
    expect(await receive()).toBe(2);
    // Without metadata, only a stride could be missing.
    const before = receiver.counters.controlTruncated;
    expect([before, metas[0]?.controlTruncated]).toEqual(usesGro ? [2, true] : [0, false]);
    receiver.enableMetadata();
    expect(await receive()).toBe(2);
    for (const [i, meta] of metas.entries()) {
      const { length } = sent[i] as Uint8Array;
      expect(
        Buffer.compare(bytes[i]?.subarray(0, length) as Uint8Array, sent[i] as Uint8Array),
      ).toBe(0);
      expect(meta).toMatchObject({ length, truncated: false, controlTruncated: true });
      // The kernel tells of the time first; of the original destination it would tell last.
      expect(meta.timestampSeconds).toBeGreaterThan(0);
      expect(meta.originalDestination).toBeUndefined();
    }
    expect(receiver.counters.controlTruncated - before).toBe(2);
    expect(receiver.counters.datagramsTruncated).toBe(0);
    receiver.close();
    sender.close();
  });
});
