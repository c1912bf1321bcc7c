/** Connections that have something to say before they end. */

import { type Poll, pollFn, type Waker } from "./poll.ts";

/** Something that can be shut down. A type of your own writes `pollShutdown`. */
export abstract class ShutdownConnection {
  /**
   * Starts or goes on shutting down: `undefined` when it is done and resources may be let go,
   * `Pending` when more has to happen first.
   *
   * @throws SocketError when it could not be done cleanly; it is not usable after that.
   */
  abstract pollShutdown(waker: Waker): Poll<undefined>;

  /** Shuts down, and resolves when that is done. */
  async shutdown(): Promise<void> {
    await shutdownConnection(this);
  }
}

/** What `shutdownConnection` takes: anything with `pollShutdown`, a socket too. */
export interface PollShutdown {
  pollShutdown(waker: Waker): Poll<undefined>;
}

/** Shuts `connection` down, and resolves when that is done. */
export async function shutdownConnection(connection: PollShutdown): Promise<void> {
  await pollFn((waker) => connection.pollShutdown(waker));
}
