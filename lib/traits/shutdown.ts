/** Connections that exchange messages before they end. */

import { type Poll, pollFn, type Waker } from "../poll/poll.ts";
import { typeError } from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** A connection that can be shut down. A subclass implements `pollShutdown`. */
export abstract class ShutdownConnection {
  /**
   * Starts or continues the shutdown. Returns `undefined` when it is complete and resources may be
   * released, and `Pending` before that.
   *
   * @throws SocketError if the shutdown failed. The connection is not usable after that.
   */
  abstract pollShutdown(waker: Waker): Poll<undefined>;

  /** Shuts down, and resolves when the shutdown is complete. */
  async shutdown(): Promise<void> {
    await shutdownConnection(this);
  }
}

if (isShared("ShutdownConnection", ShutdownConnection)) {
  // @ts-expect-error See `isShared`.
  ShutdownConnection = sharedClass("ShutdownConnection");
}

/** An object that `shutdownConnection` accepts, such as a socket. */
export interface PollShutdown {
  pollShutdown(waker: Waker): Poll<undefined>;
}

/**
 * Shuts `connection` down, and resolves when the shutdown is complete.
 *
 * @throws TypeError if it has no method `pollShutdown`.
 */
export async function shutdownConnection(connection: PollShutdown): Promise<void> {
  if (typeof connection?.pollShutdown !== "function") {
    throw typeError("connection", "object with pollShutdown", connection);
  }
  await pollFn((waker) => connection.pollShutdown(waker));
}
