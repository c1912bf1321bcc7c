/** A turn's time, shared by many sockets that are ready at once. */

import { expect, test } from "bun:test";
import { Pending, RecvMeta, UdpSocket } from "../../lib/index.ts";

const SOCKETS = 300;
/** Longer than a turn may take, for every few sockets: nearly all must wait for another turn. */
const WORK_MS = 0.2;

test("sockets that wait for a turn's time are not called again in every turn before theirs", async () => {
  const hostname = "127.0.0.1";
  const sockets: UdpSocket[] = [];
  for (let i = 0; i < SOCKETS; i++)
    sockets.push(await UdpSocket.bind({ hostname, backend: "native" }));
  await using sender = await UdpSocket.bind({ hostname, backend: "native" });
  const order: number[] = [];
  let calls = 0;
  try {
    await new Promise<void>((resolve) => {
      const buffer = new Uint8Array(10);
      const meta = new RecvMeta();
      for (const [i, socket] of sockets.entries()) {
        const receive = () => {
          calls++;
          if (socket.pollRecvFrom(receive, buffer, meta) === Pending) return;
          order.push(i);
          const untilMs = performance.now() + WORK_MS;
          while (performance.now() < untilMs);
          if (order.length === SOCKETS) resolve();
        };
        receive();
      }
      for (const { localAddr } of sockets) sender.trySendTo(Uint8Array.of(1), localAddr);
    });
  } finally {
    for (const socket of sockets) socket.close();
  }
  expect(order.toSorted((a, b) => a - b)).toEqual(sockets.map((_, i) => i));
  // One to start with; one by the bell or the turn; and few more, not one for each turn.
  expect(calls).toBeLessThanOrEqual(4 * SOCKETS);
});
