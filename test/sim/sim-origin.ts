/**
 * An upstream that returns every datagram, also several times, and now and then one that the proxy
 * must not forward.
 */

import { Pending, RecvMeta, type SocketAddress } from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";
import type { Scenario } from "./scenario.ts";

/** Longer than the maximum that the proxy forwards. */
const OVERSIZE_BYTES = 1501;
const OVERSIZE_CHANCE = 0.1;

/** Replies with polls, and drops what does not fit its send queue, as a busy server does. */
export class SimOrigin {
  readonly #net: SimNetwork;
  readonly #socket: SimSocket;
  readonly #scenario: Scenario;
  readonly #random: SimRandom;
  readonly #buffer = new Uint8Array(2000);
  readonly #meta = new RecvMeta();
  #count = 0;

  constructor(net: SimNetwork, socket: SimSocket, scenario: Scenario) {
    this.#net = net;
    this.#socket = socket;
    this.#scenario = scenario;
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
      this.#reply(this.#buffer.slice(0, length), peer);
      const { hasOversizeReplies } = this.#scenario;
      if (!hasOversizeReplies || !this.#random.chance(OVERSIZE_CHANCE)) continue;
      // Distinct from each other: the ledger identifies replies by their bytes.
      const oversize = new Uint8Array(OVERSIZE_BYTES);
      new DataView(oversize.buffer).setUint32(0, this.#count++);
      this.#socket.trySendTo(oversize, peer);
    }
  };

  #reply(datagram: Uint8Array, peer: SocketAddress): void {
    const { repliesPerRequest, lastReplyMs } = this.#scenario;
    for (let i = 1; i < repliesPerRequest; i++) this.#socket.trySendTo(datagram, peer);
    if (lastReplyMs === 0) {
      this.#socket.trySendTo(datagram, peer);
      return;
    }
    this.#net.clock.setTimeout(() => {
      if (!this.#socket.isClosed) this.#socket.trySendTo(datagram, peer);
    }, lastReplyMs);
  }
}
