/** Entries of the error queue that are not ICMP errors, and queues that never end. */

import { expect, spyOn, test } from "bun:test";
import { ReceiveVector } from "../../ffi/native.ts";
import { SocketAddress, type TransportError, UdpSocket } from "../../lib/index.ts";
import { IPPROTO_IPV6 } from "../../lib/linux/constants.ts";
import { drainErrorQueue } from "../../lib/linux/error-queue.ts";
import { loadedNative } from "../ffi/tools.ts";
import { HAS_IPV6, nextTick, thrown } from "../tools/sockets.ts";

/** The maximum number of entries of one drain. */
const ENTRIES_MAX = 256;
/** <linux/in6.h>: the MTU of one socket, which must be at least 1280 bytes (RFC 8200). */
const IPV6_MTU = 24;

test("a drain of a queue that is never empty ends after a bounded number of entries", () => {
  let entries = 0;
  const receive = spyOn(ReceiveVector.prototype, "receive");
  receive.mockImplementation((_fd, _slot, count) => {
    entries += count;
    if (entries > 10 * ENTRIES_MAX) throw new Error("the drain does not end");
    return count;
  });
  try {
    drainErrorQueue(loadedNative(), -1);
  } finally {
    receive.mockRestore();
  }
  expect(entries).toBe(ENTRIES_MAX);
});

test.skipIf(!HAS_IPV6)("an error that the send has thrown is no transport error", async () => {
  const errors: TransportError[] = [];
  await using socket = await UdpSocket.bind({ hostname: "::1", pathMtuDiscovery: "on" });
  socket.onTransportError((error) => errors.push(error));
  socket.setOption(IPPROTO_IPV6, IPV6_MTU, 1280);
  const to = SocketAddress.ip("::1", socket.localAddr.port);
  // The kernel also queues an entry of local origin (SO_EE_ORIGIN_LOCAL).
  const error = thrown(() => socket.trySendTo(new Uint8Array(5000), to));
  expect(error).toMatchObject({ code: "EMSGSIZE" });
  for (let tick = 0; tick < 10; tick++) await nextTick();
  expect(errors).toEqual([]);
  expect(socket.counters.transportErrors).toBe(0);
});
