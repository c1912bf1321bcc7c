/** The settings that `Bun.udpSocket` has. */

import type { Membership, UdpControls } from "../../datagram/udp-interface.ts";
import { typeError } from "../../support/check.ts";
import { unsupportedError } from "../../support/errors.ts";
import { type BunSocket, fromBunError } from "./bun-socket.ts";

/** Sets options with the methods of Bun's socket. */
export class BunControls implements UdpControls {
  readonly #socket: BunSocket;
  /** The default of the system. */
  readonly mayFragment = true;

  constructor(socket: BunSocket) {
    this.#socket = socket;
  }

  get bufferBytes(): { receive: number; send: number } {
    throw unsupportedError("getsockopt", "the portable backend cannot read buffer sizes");
  }

  setTransmitTimes(): void {
    throw unsupportedError("setsockopt", "transmit times need the native backend");
  }

  get transmitClockNs(): bigint {
    throw unsupportedError("clock_gettime", "transmit times need the native backend");
  }

  setBroadcast(enabled: boolean): void {
    this.#configure((socket) => socket.setBroadcast(enabled));
  }

  setTTL(ttl: number): void {
    this.#configure((socket) => socket.setTTL(ttl));
  }

  setMulticastTTL(ttl: number): void {
    this.#configure((socket) => socket.setMulticastTTL(ttl));
  }

  setMulticastLoopback(enabled: boolean): void {
    this.#configure((socket) => socket.setMulticastLoopback(enabled));
  }

  setMulticastInterface(interfaceAddress: string): void {
    this.#configure((socket) => {
      // Bun returns false, without an error, for an invalid address.
      if (!socket.setMulticastInterface(interfaceAddress)) {
        throw typeError("interfaceAddress", "IP address", interfaceAddress);
      }
    });
  }

  addMembership({ group, source, interfaceAddress }: Membership): void {
    this.#configure((socket) => {
      if (source === undefined) socket.addMembership(group, interfaceAddress);
      else socket.addSourceSpecificMembership(source, group, interfaceAddress);
    });
  }

  dropMembership({ group, source, interfaceAddress }: Membership): void {
    this.#configure((socket) => {
      if (source === undefined) socket.dropMembership(group, interfaceAddress);
      else socket.dropSourceSpecificMembership(source, group, interfaceAddress);
    });
  }

  #configure(set: (socket: BunSocket) => void): void {
    try {
      set(this.#socket);
    } catch (error) {
      throw error instanceof TypeError ? error : fromBunError(error, "setsockopt");
    }
  }
}
