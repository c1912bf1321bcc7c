/** `ShutdownConnection`: `shutdown` over `pollShutdown`, and over anything that has one. */

import { describe, expect, test } from "bun:test";
import {
  Pending,
  type Poll,
  ShutdownConnection,
  shutdownConnection,
  UdpSocket,
  type Waker,
} from "../../lib/index.ts";

/** Ends when the last of its datagrams is out. */
class Draining extends ShutdownConnection {
  #waker: Waker | undefined;
  polls = 0;
  left: number;

  constructor(left: number) {
    super();
    this.left = left;
  }

  override pollShutdown(waker: Waker): Poll<undefined> {
    this.polls++;
    if (this.left === 0) return undefined;
    if (this.left < 0) throw new Error("not clean");
    this.#waker = waker;
    return Pending;
  }

  drain(): void {
    this.left--;
    this.#waker?.();
  }
}

describe("ShutdownConnection", () => {
  test("shutdown resolves at once when there is nothing to do", async () => {
    const connection = new Draining(0);
    expect(await connection.shutdown()).toBeUndefined();
    expect(connection.polls).toBe(1);
  });

  test("shutdown waits, polled whenever it is woken, until it is done", async () => {
    const connection = new Draining(2);
    let isDone = false;
    const done = connection.shutdown().then(() => {
      isDone = true;
    });
    connection.drain();
    await new Promise((resolve) => setImmediate(resolve));
    expect([isDone, connection.polls]).toEqual([false, 2]);
    connection.drain();
    await done;
    expect(connection.polls).toBe(3);
  });

  test("shutdown rejects with what pollShutdown throws, at once or later", async () => {
    await expect(new Draining(-1).shutdown()).rejects.toThrow("not clean");
    const connection = new Draining(1);
    const failed = connection.shutdown();
    connection.left = 0;
    connection.drain();
    await expect(failed).rejects.toThrow("not clean");
  });

  test("shutdownConnection takes whatever has pollShutdown, such as a socket", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    expect(await shutdownConnection(socket)).toBeUndefined();
    expect(socket.isClosed).toBe(false);
    expect(await shutdownConnection({ pollShutdown: () => undefined })).toBeUndefined();
  });
});
