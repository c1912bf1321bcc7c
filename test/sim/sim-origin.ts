/** An upstream that returns every datagram, and now and then one that the proxy must not forward. */

import { Pending, RecvMeta } from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";

/** Longer than the maximum that the proxy forwards. */
const OVERSIZE_BYTES = 1501;
const OVERSIZE_CHANCE = 0.1;

/** Replies with polls, and drops what does not fit its send queue, as a busy server does. */
export class SimOrigin {
  readonly #socket: SimSocket;
  readonly #random: SimRandom;
  readonly #buffer = new Uint8Array(2000);
  readonly #meta = new RecvMeta();
  #count = 0;

  constructor(net: SimNetwork, socket: SimSocket) {
    this.#socket = socket;
    this.#random = net.random.fork("origin");
    this.#receive();
  }

  close(): void {
    this.#socket.close();
  }

  readonly #receive = (): void => {
    if (this.#socket.isClosed) return;
    for (;;) {
      const length = this.#socket.pollRecvFrom(this.#receive, this.#buffer, this.#meta);
      if (length === Pending) return;
      const { peer } = this.#meta;
      if (peer === undefined) continue;
      this.#socket.trySendTo(this.#buffer.subarray(0, length), peer);
      if (!this.#random.chance(OVERSIZE_CHANCE)) continue;
      // Distinct from each other: the ledger identifies replies by their bytes.
      const oversize = new Uint8Array(OVERSIZE_BYTES);
      new DataView(oversize.buffer).setUint32(0, this.#count++);
      this.#socket.trySendTo(oversize, peer);
    }
  };
}
