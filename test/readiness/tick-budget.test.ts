/** The time budget of a tick, when many sockets are ready at the same time. */

import { expect, test } from "bun:test";
import { Pending, RecvMeta, UdpSocket } from "../../lib/index.ts";
import { descriptorsLeft } from "../tools/descriptors.ts";

/** Enough to use up the time budget of a tick several times. */
const SOCKETS = Math.min(300, descriptorsLeft());
/** How long each waker runs: a few use up the budget of a tick, and the others are deferred. */
const WORK_MS = 0.2;

test("sockets deferred by the time budget are not polled in vain in every tick", async () => {
  const hostname = "127.0.0.1";
  const sockets: UdpSocket[] = [];
  for (let i = 0; i < SOCKETS; i++)
    sockets.push(await UdpSocket.bind({ hostname, backend: "native" }));
  await using sender = await UdpSocket.bind({ hostname, backend: "native" });
  const order: number[] = [];
  let calls = 0;
  let isOver = false;
  try {
    await new Promise<void>((resolve) => {
      const buffer = new Uint8Array(10);
      const meta = new RecvMeta();
      for (const [i, socket] of sockets.entries()) {
        const receive = () => {
          // A closed socket calls its wakers.
          if (isOver) return;
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
    isOver = true;
    for (const socket of sockets) socket.close();
  }
  expect(order.toSorted((a, b) => a - b)).toEqual(sockets.map((_, i) => i));
  // The first poll of each socket, its wake-up, and a few more. Not one for every tick.
  expect(calls).toBeLessThanOrEqual(4 * SOCKETS);
});
