/** `socketDrops` counts messages, as the kernel does: with GRO each is several datagrams. */

import { expect, test } from "bun:test";
import { RecvBatch, UdpSocket } from "../../lib/index.ts";
import { datagramsOf, NO_OFFLOAD_REASON, times } from "../tools/offload.ts";

const DATAGRAMS = 10;
const MESSAGES = 200;

test.skipIf(NO_OFFLOAD_REASON !== undefined).each([
  { gro: true, perMessage: DATAGRAMS },
  { gro: false, perMessage: 1 },
])("socketDrops is the number of lost messages of $perMessage datagrams", async ({ gro }) => {
  using receiver = await UdpSocket.bind({
    hostname: "127.0.0.1",
    receiveBufferBytes: 16_384,
    offload: { gro },
  });
  using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
  expect(receiver.enableMetadata({ socketDrops: true })).toMatchObject({ socketDrops: true, gro });
  const to = receiver.localAddr;
  const message = datagramsOf(times(DATAGRAMS, 100));
  for (let i = 0; i < MESSAGES; i++) await sender.sendMany(message, { to });
  expect(sender.counters.messagesSent).toBe(MESSAGES);

  const batch = new RecvBatch({ messages: 1024 });
  let messages = 0;
  let datagrams = 0;
  while (typeof receiver.tryRecvBatch(batch) === "number") {
    messages += batch.messages;
    datagrams += batch.length;
  }
  // The next datagram reports the total.
  await sender.sendTo(new Uint8Array(1), to);
  await receiver.recvBatch(batch);
  const drops = batch.metaAt(0).socketDrops as number;
  const lost = MESSAGES * DATAGRAMS - datagrams;
  expect(lost).toBeGreaterThan(0);
  expect(drops).toBe(gro ? MESSAGES - messages : lost);
  expect(drops).toBe(gro ? lost / DATAGRAMS : lost);
  expect(receiver.socketDrops).toBe(drops);
  receiver.close();
  expect(receiver.socketDrops).toBe(drops);
});

test("socketDrops of the socket needs no metadata and no later datagram", async () => {
  using receiver = await UdpSocket.bind({ hostname: "127.0.0.1", receiveBufferBytes: 1 });
  using sender = await UdpSocket.bind({ hostname: "127.0.0.1" });
  if (receiver.backend === "portable") return expect(receiver.socketDrops).toBeUndefined();
  expect(receiver.socketDrops).toBe(0);
  // Each is longer than the last, so that none is a segment of the same message.
  for (let i = 1; i <= 100; i++) await sender.sendTo(new Uint8Array(i), receiver.localAddr);
  let received = 0;
  while (typeof receiver.tryRecv(new Uint8Array(100)) === "number") received++;
  expect(received).toBeLessThan(100);
  expect(receiver.socketDrops).toBe(100 - received);
});
