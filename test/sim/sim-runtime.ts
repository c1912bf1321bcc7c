/** The surroundings of the proxy on a simulated network. */

import type { ProxySocket, SocketOptions } from "../../examples/flow-proxy/open-socket.ts";
import type { Runtime } from "../../examples/flow-proxy/runtime.ts";
import { SocketAddress, SocketError } from "../../lib/index.ts";
import type { SimNetwork, SimRandom, SimSocket } from "../../lib/testing/index.ts";

/** What differs between the two halves. */
export interface SimRuntimeOptions {
  /** The host of sockets with a given port. */
  readonly listenHost: string;
  /** The host of sockets without. */
  readonly connectHost: string;
  /** The maximum time that opening a socket without a given port takes. */
  readonly openMs: number;
  /** The probability that opening such a socket fails. */
  readonly openFailures: number;
}

/** Opens the sockets of one half. */
export class SimRuntime implements Runtime {
  readonly #net: SimNetwork;
  readonly #options: SimRuntimeOptions;
  readonly #random: SimRandom;
  /** The sockets that were opened, with the number of times that their counters were read. */
  readonly opened: Map<SimSocket, number> = new Map();
  /** The number of calls of `openSocket` that have not returned. */
  opening: number = 0;

  constructor(net: SimNetwork, options: SimRuntimeOptions) {
    this.#net = net;
    this.#options = options;
    this.#random = net.random.fork(`runtime ${options.listenHost}`);
  }

  async openSocket({ port = 0, connect }: SocketOptions): Promise<ProxySocket> {
    const { listenHost, connectHost, openMs, openFailures } = this.#options;
    this.opening++;
    try {
      if (port === 0 && openMs > 0) {
        await this.#net.clock.sleep(this.#random.between(0, openMs));
      }
      if (port === 0 && this.#random.chance(openFailures)) {
        throw new SocketError({ errno: 24, code: "EMFILE", syscall: "socket" });
      }
    } finally {
      this.opening--;
    }
    const peer = connect && SocketAddress.ip(connect.hostname, connect.port);
    const host = port === 0 ? connectHost : listenHost;
    const socket = this.#net.bind(host, port, { connect: peer, sendErrors: "drop" });
    this.opened.set(socket, 0);
    return this.#countReads(socket);
  }

  /** Counts reads of the counters: a program that reads those of a closed socket has kept it. */
  #countReads(socket: SimSocket): SimSocket {
    const getter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(socket), "counters")?.get;
    Object.defineProperty(socket, "counters", {
      get: () => {
        this.opened.set(socket, (this.opened.get(socket) as number) + 1);
        return getter?.call(socket);
      },
    });
    return socket;
  }

  nowMs(): number {
    return this.#net.now;
  }

  callLater(callback: () => void, delayMs: number): void {
    this.#net.clock.setTimeout(callback, delayMs);
  }

  callRepeatedly(callback: () => void, intervalMs: number): () => void {
    const timer = this.#net.clock.setInterval(callback, intervalMs);
    return () => timer.clear();
  }
}
