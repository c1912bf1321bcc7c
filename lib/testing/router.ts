/** Moves datagrams and ICMP errors between the sockets of a simulated network. */

import type { SocketAddress } from "../address/socket-address.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import type { SimClock } from "./clock.ts";
import type { SimDatagram } from "./event.ts";
import type { EventQueue } from "./event-queue.ts";
import type { SimHost } from "./hosts.ts";
import { headerBytes, packetTooBig, portUnreachable } from "./icmp.ts";
import type { Journal } from "./journal.ts";
import type { Link, LinkOptions } from "./link.ts";
import type { SimRandom } from "./random.ts";
import type { SimSocket } from "./socket.ts";
import { Topology } from "./topology.ts";
import type { Wire } from "./wire.ts";

/** The parts of a network that its router uses. */
export interface RouterInit {
  readonly clock: SimClock;
  readonly events: EventQueue;
  readonly journal: Journal;
  readonly hosts: ReadonlyMap<string, SimHost<SimSocket>>;
  readonly random: SimRandom;
  /** The default properties of links. */
  readonly link: LinkOptions;
}

/** Decides what happens to each datagram. */
export class Router {
  readonly topology: Topology;
  readonly #clock: SimClock;
  readonly #events: EventQueue;
  readonly #journal: Journal;
  readonly #hosts: ReadonlyMap<string, SimHost<SimSocket>>;
  #nextId = 1;

  constructor(init: RouterInit) {
    this.topology = new Topology(init.link, init.random);
    this.#clock = init.clock;
    this.#events = init.events;
    this.#journal = init.journal;
    this.#hosts = init.hosts;
  }

  /** Returns the `transmit` of the socket with address `local`. */
  transmitterOf(local: SocketAddress): Wire["transmit"] {
    return (to, payload, { mayFragment }) => {
      const sent: SimDatagram = { id: this.#nextId++, from: local, to, payload, mayFragment };
      this.#journal.record("send", sent, local);
      return this.#transmit(this.#translateOut(sent));
    };
  }

  /** Returns the `received` of the socket with address `local`. */
  receiverOf(local: SocketAddress): Wire["received"] {
    return (datagram) => this.#journal.record("receive", datagram, local);
  }

  #translateOut(datagram: SimDatagram): SimDatagram {
    const { from, to } = datagram;
    const nat = this.topology.natOfInside(from.address);
    if (nat === undefined || nat._hasInside(to.address)) return datagram;
    return { ...datagram, from: nat._translateOut(from, to) };
  }

  /** Puts a datagram on its link, and returns the time at which it leaves the host. */
  #transmit(datagram: SimDatagram): number {
    const { from, to, payload, mayFragment } = datagram;
    const nowMs = this.#clock.now;
    const link = this.topology.linkBetween(from.address, to.address);
    const packetBytes = payload.length + headerBytes(to);
    const { mtu } = link.settings;
    if (this.topology.isSeparated(from.address, to.address)) {
      this.#journal.lose("partition", datagram);
      return nowMs;
    }
    if (packetBytes > mtu && !mayFragment) {
      this.#journal.lose("mtu", datagram);
      this.#sendIcmp(datagram, packetTooBig(datagram, mtu), nowMs);
      return nowMs;
    }
    const departureMs = link.depart(nowMs, packetBytes);
    if (departureMs === undefined) {
      this.#journal.lose("link-queue", datagram);
      return nowMs;
    }
    if (link.loses(fragmentsOf(packetBytes, mtu))) {
      this.#journal.lose("random", datagram);
      return departureMs;
    }
    this.#arriveLater(datagram, link, departureMs);
    if (link.duplicates()) {
      this.#journal.record("duplicate", datagram);
      this.#arriveLater(datagram, link, departureMs);
    }
    return departureMs;
  }

  #arriveLater(datagram: SimDatagram, link: Link, departureMs: number): void {
    this.#events.add(link.arrive(departureMs), () => this.#arrive(datagram));
  }

  #arrive(arrived: SimDatagram): void {
    const { from } = arrived;
    if (this.topology.isSeparated(from.address, arrived.to.address)) {
      this.#journal.lose("partition", arrived);
      return;
    }
    const datagram = this.#translateIn(arrived);
    if (datagram === undefined) {
      this.#journal.lose("nat", arrived);
      return;
    }
    const host = this.#hosts.get(datagram.to.address);
    if (host === undefined) {
      this.#journal.lose("no-host", datagram);
      return;
    }
    const socket = host.socketAt(datagram.to.port);
    if (socket === undefined || !(socket.peerAddr?.equals(from) ?? true)) {
      this.#journal.lose("no-socket", datagram);
      this.#sendIcmp(arrived, portUnreachable(arrived), this.#clock.now);
    } else if (socket._deliver(datagram)) {
      this.#journal.record("deliver", datagram, socket.localAddr);
      socket._wakeReader();
    } else {
      this.#journal.lose("receive-queue", datagram);
    }
  }

  /** Returns the datagram as the host behind a NAT receives it; absent if the NAT drops it. */
  #translateIn(datagram: SimDatagram): SimDatagram | undefined {
    const { from, to } = datagram;
    const nat = this.topology.natOfOutside(to.address);
    if (nat === undefined) return datagram;
    const inside = nat._translateIn(from, to.port);
    return inside && { ...datagram, to: inside };
  }

  // -------------------------------------------------------------------------------- ICMP ----

  /** Sends an error about `datagram` back to its sender. It may be lost like a datagram. */
  #sendIcmp(datagram: SimDatagram, error: TransportError, nowMs: number): void {
    const { from, to } = datagram;
    if (!this.topology.linkBetween(from.address, to.address).settings.icmp) return;
    const back = this.topology.linkBetween(to.address, from.address);
    if (this.topology.isSeparated(from.address, to.address) || back.loses(1)) {
      this.#journal.icmpErrorsLost++;
      return;
    }
    this.#events.add(nowMs + back.settings.delayMs, () => this.#icmpArrives(datagram, error));
  }

  #icmpArrives(datagram: SimDatagram, error: TransportError): void {
    const { from, to } = datagram;
    const nat = this.topology.natOfOutside(from.address);
    const sender = nat === undefined ? from : nat._insideOf(from.port);
    const host = sender && this.#hosts.get(sender.address);
    if (error.mtu !== undefined) host?.learnPathMtu(to, error.mtu, this.#clock.now);
    const socket = sender && host?.socketAt(sender.port);
    if (socket === undefined || !(socket.peerAddr?.equals(to) ?? true)) {
      this.#journal.icmpErrorsLost++;
      return;
    }
    this.#journal.record("icmp", datagram, socket.localAddr, error.code);
    socket._transportError(error);
  }
}

/** Returns the number of fragments of a packet: each has a multiple of 8 bytes (RFC 791). */
function fragmentsOf(packetBytes: number, mtu: number): number {
  if (packetBytes <= mtu) return 1;
  // The IP header of 20 bytes is repeated. For IPv6, with 48 bytes, the number is approximate.
  return Math.ceil((packetBytes - 20) / ((mtu - 20) & ~7));
}
