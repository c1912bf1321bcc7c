/** The settings that `Bun.udpSocket` has. */

import { interfaceIndex, type NetworkInterface } from "../../address/interfaces.ts";
import { parseIPv4 } from "../../address/ip.ts";
import { SocketAddress } from "../../address/socket-address.ts";
import type { Membership, UdpControls } from "../../datagram/udp-interface.ts";
import { typeError } from "../../support/check.ts";
import { type SocketError, unsupportedError } from "../../support/errors.ts";
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

  get pathMtu(): number | undefined {
    throw unsupported("getsockopt", "pathMtu");
  }

  getOption(): never {
    throw unsupported("getsockopt", "getOption");
  }

  setOption(): void {
    throw unsupported("setsockopt", "setOption");
  }

  setDscp(): void {
    throw unsupported("setsockopt", "setDscp");
  }

  setTransmitTimes(): void {
    throw unsupportedError("setsockopt", "transmit times need the native backend");
  }

  get transmitClockNs(): bigint {
    throw unsupportedError("clock_gettime", "transmit times need the native backend");
  }

  setReusePortSteering(): void {
    throw unsupported("setsockopt", "setReusePortSteering");
  }

  removeReusePortSteering(): void {
    throw unsupported("setsockopt", "removeReusePortSteering");
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

  setMulticastAll(): void {
    throw unsupported("setsockopt", "setMulticastAll");
  }

  setMulticastInterface(value: NetworkInterface): void {
    const isIPv6 = this.#socket.address.family === "IPv6";
    const ipv4 = ipv4Interface(value);
    if (!isIPv6 && ipv4 === undefined) throw noIPv4Address(value);
    this.#configure((socket) => {
      // A dual-stack socket has an interface for each family.
      if (isIPv6) socket.setMulticastInterface(ipv6Interface(value));
      if (ipv4 !== undefined) socket.setMulticastInterface(ipv4);
    });
  }

  addMembership(membership: Membership): void {
    const { group, source } = membership;
    const device = interfaceOf(membership);
    this.#configure((socket) => {
      if (source === undefined) socket.addMembership(group, device);
      else socket.addSourceSpecificMembership(source, group, device);
    });
  }

  dropMembership(membership: Membership): void {
    const { group, source } = membership;
    const device = interfaceOf(membership);
    this.#configure((socket) => {
      if (source === undefined) socket.dropMembership(group, device);
      else socket.dropSourceSpecificMembership(source, group, device);
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

function unsupported(syscall: string, name: string): SocketError {
  return unsupportedError(syscall, `${name} requires the native backend`);
}

/** Returns the interface of a membership in the form that Bun accepts for its group. */
function interfaceOf({ group, interface: value }: Membership): string | undefined {
  const { family, scopeId } = SocketAddress.ip(group, 0);
  if (family === "IPv6")
    return value === undefined && scopeId === 0 ? undefined : ipv6Interface(value ?? scopeId);
  if (value === undefined) return undefined;
  const address = ipv4Interface(value);
  if (address === undefined) throw noIPv4Address(value);
  return address;
}

function noIPv4Address(value: NetworkInterface): TypeError {
  return typeError("interface", "interface that has an IPv4 address", value);
}

/** Returns an IPv4 address of an interface, if it has one: Bun accepts nothing else for IPv4. */
function ipv4Interface(value: NetworkInterface): string | undefined {
  if (typeof value === "string" && parseIPv4(value, new Uint8Array(4), 0)) return value;
  const index = interfaceIndex("interface", value);
  if (index === 0) return "0.0.0.0";
  return deviceOf(index)?.addresses.find(({ family }) => family === "IPv4")?.address;
}

/** Returns an interface as a zone. It has the name of the device: Bun ignores an index there. */
function ipv6Interface(value: NetworkInterface): string {
  const index = interfaceIndex("interface", value);
  if (index === 0) return "::";
  const device = deviceOf(index);
  if (device === undefined) throw typeError("interface", "interface that has an address", value);
  return `::%${device.name}`;
}

function deviceOf(index: number) {
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    if (interfaceIndex("interface", name) === index) return { name, addresses };
  }
  return undefined;
}
