/** The receive queue of the portable backend, which Bun fills from its own callbacks. */

import { expect, test } from "bun:test";
import { isClosedError, UdpSocket } from "../../lib/index.ts";
import { until } from "../tools/sockets.ts";

test("portable backend: a pending receiver gets a burst larger than its queue", async () => {
  const count = 200;
  await using receiver = await UdpSocket.bind({
    hostname: "127.0.0.1",
    backend: "portable",
    receiveQueueDatagrams: 16,
  });
  await using sender = await UdpSocket.connect({
    hostname: "127.0.0.1",
    port: receiver.localAddr.port,
  });
  const received: number[] = [];
  const buffers = Array.from({ length: 8 }, () => new Uint8Array(1));
  const receiving = (async () => {
    for (;;) {
      const taken = await receiver.recvMany(buffers);
      for (let i = 0; i < taken; i++) received.push(buffers[i]?.[0] as number);
    }
  })().catch((error) => {
    if (!isClosedError(error)) throw error;
  });
  // Sent within one tick, so that Bun receives all of them in its next one.
  for (let i = 0; i < count; i++) expect(sender.trySend(Uint8Array.of(i))).toBe(1);
  await until(() => received.length + receiver.counters.datagramsDropped === count);
  expect(receiver.counters.datagramsDropped).toBe(0);
  expect(received).toEqual(Array.from({ length: count }, (_, i) => i));
  receiver.close();
  await receiving;
});
