/**
 * Control messages that exceed the control buffer: the kernel sets MSG_CTRUNC and omits those that
 * do not fit, and the library must not read a GRO segment size that is not there. The buffers of
 * the library's own sockets are large enough; adopted descriptors may have more options enabled.
 */

import { describe, expect, test } from "bun:test";
import { RecvBatch, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { readStride } from "../../lib/linux/recv-cmsg.ts";
import { datagramsOf, expectSame, NO_OFFLOAD_REASON, receiveAll, times } from "../tools/offload.ts";
import { loadedNative } from "./tools.ts";

/** The level and name of UDP_GRO. */
const UDP_GRO = [17, 104] as const;
/** The level and name of the options that add a control message to every datagram. */
const METADATA_OPTIONS = [
  [1, 35], // SO_TIMESTAMPNS
  [1, 40], // SO_RXQ_OVFL
  [1, 75], // SO_RCVMARK
  [0, 8], // IP_PKTINFO
  [0, 12], // IP_RECVTTL
  [0, 13], // IP_RECVTOS
  [0, 20], // IP_RECVORIGDSTADDR
] as const;
/**
 * Options whose control messages exceed the library's control buffer if a datagram has IP options:
 * the last two each add a copy of those.
 */
const OVERFLOWING_OPTIONS = [
  ...METADATA_OPTIONS,
  [1, 37], // SO_TIMESTAMPING
  [0, 6], // IP_RECVOPTS
  [0, 7], // IP_RETOPTS
] as const;
const SOF_TIMESTAMPING_RX_SOFTWARE = 1 << 3;
const SOF_TIMESTAMPING_SOFTWARE = 1 << 4;
/** The level and name of IP_OPTIONS, and a value of maximum length: 40 "no operation" (RFC 791). */
const IP_OPTIONS = [0, 4] as const;
const NO_OPERATIONS = new Uint8Array(40).fill(1);
const NAME_CAPACITY = 28;
const SLOT_BYTES = 65_536;

const native = loadedNative();

/** Returns a bound descriptor with GRO enabled that no socket owns. */
async function descriptorWithGro(): Promise<{ fd: number; port: number }> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  const { port } = socket.localAddr;
  const fd = socket.intoFd() as number;
  expect(native.setIntOption(fd, ...UDP_GRO, 1)).toBe(0);
  return { fd, port };
}

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("receiving a message merged by GRO", () => {
  test.each([
    { controlBytes: 0, stride: 0, isTruncated: true },
    { controlBytes: 8, stride: 0, isTruncated: true },
    { controlBytes: 16, stride: 0, isTruncated: true },
    { controlBytes: 24, stride: 100, isTruncated: false },
    { controlBytes: 256, stride: 100, isTruncated: false },
  ])(
    "with a control buffer of $controlBytes bytes: segment size $stride, MSG_CTRUNC $isTruncated",
    async ({ controlBytes, stride, isTruncated }) => {
      const { fd, port } = await descriptorWithGro();
      await using sender = await UdpSocket.connect({ hostname: "127.0.0.1", port });
      await sender.sendMany(datagramsOf(times(5, 100)));
      const vector = native.receiveVector(NAME_CAPACITY, controlBytes);
      vector.reserve(1);
      vector.setView(0, new Uint8Array(new ArrayBuffer(SLOT_BYTES)));
      expect([vector.receive(fd, 0, 1), vector.lengthAt(0)]).toEqual([1, 500]);
      expect(vector.isControlTruncatedAt(0)).toBe(isTruncated);
      const bytes = vector.controlLengthAt(0);
      expect(bytes).toBeLessThanOrEqual(controlBytes);
      expect(readStride(vector.words, vector.controlIndex(0), bytes)).toBe(stride);
      native.close(fd);
    },
  );

  test("splits it on an adopted descriptor that has all metadata options enabled", async () => {
    const { fd, port } = await descriptorWithGro();
    for (const [level, name] of METADATA_OPTIONS) native.setIntOption(fd, level, name, 1);
    await using receiver = await UdpSocket.fromFd(fd);
    await using sender = await UdpSocket.connect({ hostname: "127.0.0.1", port });
    receiver.enableMetadata();
    const sent = datagramsOf([...times(60, 700), 30]);
    await sender.sendMany(sent);
    expectSame(await receiveAll(receiver, sent.length), sent);
    expect(receiver.counters.messagesReceived).toBe(1);
  });
});

describe("an adopted descriptor whose control messages exceed the control buffer", () => {
  /** Opens a sender, and a receiver whose datagrams all have more control messages than fit. */
  async function openEnds(usesGro: boolean) {
    const bound = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
    const { port } = bound.localAddr;
    const fd = bound.intoFd() as number;
    for (const [level, name] of OVERFLOWING_OPTIONS) {
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
  ] as const)(
    "%s reports controlTruncated and delivers all bytes (GRO: %p)",
    async (method, usesGro) => {
      const { receiver, sender } = await openEnds(usesGro);
      const sent = datagramsOf([100, 200]);
      const metas = sent.map(() => new RecvMeta());
      const bytes = sent.map(() => new Uint8Array(300));
      const batch = new RecvBatch();
      const receive = async () => {
        for (const datagram of sent) expect(await sender.send(datagram)).toBe(datagram.length);
        if (method === "recvMany") return receiver.recvMany(bytes, { meta: metas });
        const count = await receiver.recvBatch(batch);
        for (let i = 0; i < count; i++) {
          batch.metaAt(i, metas[i]);
          bytes[i]?.set(batch.payload(i));
        }
        return count;
      };
      expect(await receive()).toBe(2);
      // While metadata is disabled, the GRO segment size is all that could be missing.
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
        // The kernel stores the timestamp first and the original destination last.
        expect(meta.timestampSeconds).toBeGreaterThan(0);
        expect(meta.originalDestination).toBeUndefined();
      }
      expect(receiver.counters.controlTruncated - before).toBe(2);
      expect(receiver.counters.datagramsTruncated).toBe(0);
      receiver.close();
      sender.close();
    },
  );
});
