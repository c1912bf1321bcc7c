/**
 * An attacker that sends requests with the source address of a victim, each from another port. The
 * victim must not get more than three times what was sent in its name.
 */

import { REPLY_FACTOR } from "../../examples/flow-proxy/reply-allowance.ts";
import type { SocketAddress } from "../../lib/index.ts";
import type { SimEvent, SimNetwork } from "../../lib/testing/index.ts";
import { type Scenario, VICTIM } from "./scenario.ts";
import { require } from "./violation.ts";

/** What the proxy has received from an address of the victim, and has sent to it. */
interface Traffic {
  requests: number;
  requestBytes: number;
  replies: number;
  replyBytes: number;
}

/** Sends forged requests, and checks each reply. */
export class Forger {
  readonly #net: SimNetwork;
  readonly #scenario: Scenario;
  readonly #traffic = new Map<string, Traffic>();

  constructor(net: SimNetwork, scenario: Scenario) {
    this.#net = net;
    this.#scenario = scenario;
    net.observe(this.#check);
  }

  /** Sends the requests to random ones of `targets`. */
  async send(targets: readonly SocketAddress[]): Promise<void> {
    const random = this.#net.random.fork("forger");
    const { forgedRequests, pauseMs } = this.#scenario;
    for (let i = 0; i < forgedRequests; i++) {
      await this.#net.clock.sleep(random.between(0, pauseMs / 10));
      const request = new Uint8Array(random.integer(8, 400));
      // Unlike the requests of a client: they start with its index.
      new DataView(request.buffer).setUint32(0, 0x3fff_0000 + i);
      const socket = this.#net.bind(VICTIM, 0, { connect: random.pick(targets) });
      await socket.send(request);
      socket.close();
    }
  }

  readonly #check = ({ kind, datagram }: SimEvent): void => {
    const { from, to, payload } = datagram;
    if (kind === "receive" && from.address === VICTIM) {
      const traffic = this.#trafficOf(from);
      traffic.requests++;
      traffic.requestBytes += payload.length;
    } else if (kind === "send" && to.address === VICTIM) {
      const traffic = this.#trafficOf(to);
      traffic.replies++;
      traffic.replyBytes += payload.length;
      const { requests, requestBytes, replies, replyBytes } = traffic;
      const isLimited =
        replies <= REPLY_FACTOR * requests && replyBytes <= REPLY_FACTOR * requestBytes;
      require(isLimited, () => `amplified for ${to}: ${JSON.stringify(traffic)}`);
    }
  };

  #trafficOf(address: SocketAddress): Traffic {
    const known = this.#traffic.get(`${address}`);
    if (known !== undefined) return known;
    const traffic = { requests: 0, requestBytes: 0, replies: 0, replyBytes: 0 };
    this.#traffic.set(`${address}`, traffic);
    return traffic;
  }
}
