/** Sockets in Workers: concurrent use, and release of sockets when a Worker is terminated. */

import { describe, expect, test } from "bun:test";
import { SocketAddress, UdpSocket } from "../../lib/index.ts";
import {
  BACKENDS,
  CHILD_TIMEOUT_MS,
  endedWell,
  numbered,
  receiveNumbers,
  runScript,
  sequence,
} from "../tools/sockets.ts";

/** Starts a Worker that echoes datagrams. */
async function echoWorker(backend: string): Promise<{ worker: Worker; address: SocketAddress }> {
  const worker = new Worker(new URL("../children/echo-worker.ts", import.meta.url).href);
  const address = await new Promise<string>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage(backend);
  });
  return { worker, address: SocketAddress.parse(address) };
}

describe.each(BACKENDS)("Workers, %s backend", (backend) => {
  test("sockets of three Workers and of the main thread work concurrently", async () => {
    const workers = await Promise.all(sequence(3).map(() => echoWorker(backend)));
    await Promise.all(
      workers.map(async ({ address }) => {
        await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
        for (let round = 0; round < 20; round++) {
          await socket.sendMany(numbered(50, 50 * round), { to: address });
          expect(await receiveNumbers(socket, 50)).toEqual(sequence(50, 50 * round));
        }
      }),
    );
    const closed = workers.map(
      ({ worker }) => new Promise((resolve) => worker.addEventListener("close", resolve)),
    );
    for (const { worker } of workers) worker.terminate();
    await Promise.all(closed);
  });

  test(
    "the port of a terminated Worker's socket becomes free",
    async () => {
      const { worker, address } = await echoWorker(backend);
      const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
      worker.terminate();
      await closed;
      for (;;) {
        Bun.gc(true);
        try {
          const socket = await UdpSocket.bind({ hostname: "127.0.0.1", port: address.port });
          socket.close();
          return;
        } catch (error) {
          // The Worker's heap, which owns the descriptors, is destroyed shortly after its end.
          expect(error).toMatchObject({ code: "EADDRINUSE" });
          await Bun.sleep(10);
        }
      }
    },
    CHILD_TIMEOUT_MS,
  );
});

// Concurrent: each runs in a process of its own.
test.concurrent(
  "terminating Workers that send and receive crashes nothing and leaks no descriptor",
  async () => {
    const child = await runScript("terminate-workers.ts");
    const { before, after, echoes } = JSON.parse(endedWell(child));
    expect(after).toBeLessThanOrEqual(before);
    expect(echoes).toBe(45);
  },
  CHILD_TIMEOUT_MS,
);

test.concurrent(
  "terminating Workers at random times during a flood crashes nothing and leaks no descriptor",
  async () => {
    const child = await runScript("terminate-flooded-workers.ts");
    const { before, after, received } = JSON.parse(endedWell(child));
    expect(after).toBeLessThanOrEqual(before);
    expect(received).toBe(35);
  },
  CHILD_TIMEOUT_MS,
);

test.concurrent(
  "terminating Workers while they open sockets crashes nothing and leaks no descriptor",
  async () => {
    const child = await runScript("terminate-flooded-workers.ts", { args: ["early"] });
    const { before, after, received } = JSON.parse(endedWell(child));
    expect(received).toBe(35);
    expect(after).toBeLessThanOrEqual(before);
  },
  CHILD_TIMEOUT_MS,
);
