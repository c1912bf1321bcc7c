/** A client of the flow proxy: sends requests and checks that each reply is one of them. */

import { isClosedError, SendBatch, SocketError } from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";
import type { Scenario } from "./scenario.ts";
import { require } from "./violation.ts";

/** The client's index and the number of the request. */
const HEADER_BYTES = 8;
/** The minimum length of a packet with a short header, which the header then looks like. */
const PACKET_BYTES_MIN = 21;
/**
 * The length of what looks like a connection ID: the last three bytes of the index, and the first one
 * of the number, which is 0.
 */
export const CONNECTION_ID_BYTES = 4;

/** A client with its own socket. Sends with all promises of the library in turn. */
export class SimClient {
  readonly #index: number;
  readonly #net: SimNetwork;
  readonly #socket: SimSocket;
  readonly #scenario: Scenario;
  readonly #random: SimRandom;
  readonly #requests: Uint8Array[] = [];
  /** The number of valid replies, duplicates included. */
  replies = 0;

  constructor(index: number, net: SimNetwork, socket: SimSocket, scenario: Scenario) {
    this.#index = index;
    this.#net = net;
    this.#socket = socket;
    this.#scenario = scenario;
    this.#random = net.random.fork(`client ${index}`);
  }

  /** Sends all requests. */
  async send(): Promise<void> {
    const { bursts, burstMax, pauseMs } = this.#scenario;
    for (let burst = 0; burst < bursts; burst++) {
      await this.#net.clock.sleep(this.#random.between(0, pauseMs));
      const count = this.#random.integer(1, burstMax);
      await this.#sendBurst(Array.from({ length: count }, () => this.#newRequest()));
    }
  }

  /** Receives replies until the socket is closed. */
  async receive(): Promise<void> {
    for await (const batch of this.#socket.batches({ count: 8, payloadBytesMax: 2000 })) {
      for (let i = 0; i < batch.length; i++) {
        this.#check(batch.buffers[i]?.asSlice() as Uint8Array);
      }
    }
  }

  close(): void {
    this.#socket.close();
  }

  #newRequest(): Uint8Array {
    const { hasConnectionIds, payloadBytesMax } = this.#scenario;
    const bytesMin = hasConnectionIds ? PACKET_BYTES_MIN : HEADER_BYTES;
    const length = this.#random.integer(bytesMin, payloadBytesMax);
    const request = new Uint8Array(length).fill(this.#random.integer(0, 255));
    const view = new DataView(request.buffer);
    view.setUint32(0, this.#index);
    view.setUint32(4, this.#requests.length);
    this.#requests.push(request);
    return request;
  }

  async #sendBurst(requests: readonly Uint8Array[]): Promise<void> {
    try {
      if (this.#random.chance(0.3)) {
        const batch = new SendBatch({ datagrams: requests.length, prefixBytes: 0 });
        for (const request of requests) batch.push(request);
        require((await this.#socket.sendBatch(batch)) === requests.length &&
          batch.length === 0, () => `client ${this.#index}: sendBatch sent a part`);
      } else if (this.#random.chance(0.5)) {
        const sent = await this.#socket.sendMany(requests);
        require(sent === requests.length, () => `client ${this.#index}: sendMany sent ${sent}`);
      } else {
        // In the order of the calls, although none is awaited before the next.
        await Promise.all(requests.map((request) => this.#socket.send(request)));
      }
    } catch (error) {
      // An ICMP error: the ingress is being restarted. The requests after it are not sent.
      if (!(error instanceof SocketError) || isClosedError(error)) throw error;
    }
  }

  #check(reply: Uint8Array): void {
    const name = `client ${this.#index}`;
    require(reply.length >= HEADER_BYTES, () => `${name}: a reply of ${reply.length} bytes`);
    const view = new DataView(reply.buffer, reply.byteOffset);
    require(view.getUint32(0) === this.#index, () =>
      `${name}: a reply to client ${view.getUint32(0)}`);
    const request = this.#requests[view.getUint32(4)];
    require(request !== undefined && Buffer.compare(request, reply) === 0, () =>
      `${name}: request ${view.getUint32(4)} was altered`);
    this.replies++;
  }
}
