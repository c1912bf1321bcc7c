/** Tests of `shutdown` and `shutdownConnection`, which call `pollShutdown`. */

import { describe, expect, test } from "bun:test";
import {
  Pending,
  type Poll,
  ShutdownConnection,
  shutdownConnection,
  UdpSocket,
  type Waker,
} from "../../lib/index.ts";

/** A connection whose shutdown completes when no datagrams remain to be sent. */
class Draining extends ShutdownConnection {
  #waker: Waker | undefined;
  polls = 0;
  remaining: number;

  constructor(remaining: number) {
    super();
    this.remaining = remaining;
  }

  override pollShutdown(waker: Waker): Poll<undefined> {
    this.polls++;
    if (this.remaining === 0) return undefined;
    if (this.remaining < 0) throw new Error("not clean");
    this.#waker = waker;
    return Pending;
  }

  drain(): void {
    this.remaining--;
    this.#waker?.();
  }
}

describe("ShutdownConnection", () => {
  test("shutdown resolves after one poll if that completes", async () => {
    const connection = new Draining(0);
    expect(await connection.shutdown()).toBeUndefined();
    expect(connection.polls).toBe(1);
  });

  test("shutdown polls again after each wake, and resolves on completion", async () => {
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

  test("shutdown rejects with the error of the first or a later poll", async () => {
    await expect(new Draining(-1).shutdown()).rejects.toThrow("not clean");
    const connection = new Draining(1);
    const failed = connection.shutdown();
    connection.remaining = 0;
    connection.drain();
    await expect(failed).rejects.toThrow("not clean");
  });

  test("shutdownConnection accepts any object with pollShutdown, such as a socket", async () => {
    using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
    expect(await shutdownConnection(socket)).toBeUndefined();
    expect(socket.isClosed).toBe(false);
    expect(await shutdownConnection({ pollShutdown: () => undefined })).toBeUndefined();
  });
});
