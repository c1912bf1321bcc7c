/** A peer of the egress in the tunnel: an ingress at one address. */

import type { SocketAddress } from "../../lib/index.ts";
import { ReplyAllowance } from "./reply-allowance.ts";
import type { FlowId } from "./tunnel-datagram.ts";
import type { UpstreamFlow } from "./upstream-flow.ts";

/**
 * An ingress that has flows. If a NAT assigns it another address, it is another peer, with new flows:
 * the egress cannot know that it is the same. The old peer sends nothing any more. Its flows get no
 * replies after the idle timeout, even if the upstream goes on: its address may belong to another
 * host by then (RFC 4787, section 6, has the same rule for the mappings of a NAT).
 */
export class TunnelPeer {
  readonly address: SocketAddress;
  readonly flows: Map<FlowId, UpstreamFlow> = new Map();
  readonly allowance: ReplyAllowance;
  #lastHeardMs = 0;

  constructor(address: SocketAddress, replyFactor: number) {
    this.address = address;
    this.allowance = new ReplyAllowance(replyFactor);
  }

  /** To be called with each datagram of a flow of the peer. */
  onReceived(bytes: number, nowMs: number): void {
    this.#lastHeardMs = nowMs;
    this.allowance.onReceived(bytes);
  }

  /** Returns whether the peer has sent nothing for `silenceMs`. */
  isStale(nowMs: number, silenceMs: number): boolean {
    return nowMs - this.#lastHeardMs >= silenceMs;
  }
}
