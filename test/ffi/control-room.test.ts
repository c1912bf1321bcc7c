/**
 * Too little room for control messages: the kernel tells so (MSG_CTRUNC), leaves out what does not
 * fit, and the library reads no stride where there is none. Sockets of the library have the room.
 */

import { describe, expect, test } from "bun:test";
import { segmentBytesOf } from "../../lib/datagram/control.ts";
import { UdpSocket } from "../../lib/index.ts";
import { datagramsOf, expectSame, NO_OFFLOAD_REASON, receiveAll, times } from "../offload-tools.ts";
import { loadedNative } from "./tools.ts";

/** <linux/socket.h>. */
const MSG_CTRUNC = 8;
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
const NAME_CAPACITY = 28;
const SLOT_BYTES = 65_536;

const native = loadedNative();

/** A bound descriptor of nobody's, which coalesces. */
async function coalescingDescriptor(): Promise<{ fd: number; port: number }> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "shim" });
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
    expect((vector.flagsAt(0) & MSG_CTRUNC) !== 0).toBe(isCut);
    const bytes = vector.controlLengthAt(0);
    expect(bytes).toBeLessThanOrEqual(room);
    expect(segmentBytesOf(vector.words, vector.controlIndex(0), bytes)).toBe(stride);
    native.close(fd);
  });

  test("come apart on an adopted descriptor that tells of everything else too", async () => {
    const { fd, port } = await coalescingDescriptor();
    for (const [level, name] of TELLING) native.setIntOption(fd, level, name, 1);
    await using receiver = await UdpSocket.fromFd(fd);
    await using sender = await UdpSocket.connect({ hostname: "127.0.0.1", port });
    receiver.receiveMetadata();
    const sent = datagramsOf([...times(60, 700), 30]);
    await sender.sendMany(sent);
    expectSame(await receiveAll(receiver, sent.length), sent);
    expect(receiver.counters.messagesReceived).toBe(1);
  });
});
