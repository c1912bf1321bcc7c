/**
 * Drives a socket of `node:dgram` with Bun's own: where the native backend does not work or is not
 * wanted, and for the sockets that the workers of a cluster share.
 */

import { unsupportedError } from "../support/errors.ts";
import { builtinCreateSocket, STATE } from "./builtin.ts";
import type {
  AddressRecord,
  BindRequest,
  Done,
  Driver,
  DriverEvents,
  Group,
  SendRequest,
  SocketType,
} from "./driver.ts";
import { EBADF, EINVAL, errnoException, errnoOf } from "./errors.ts";

type BunSocket = ReturnType<typeof builtinCreateSocket>;

/** All addresses have been resolved. Synchronous, so that `close` finds no datagram that waits. */
function returnAddress(
  ip: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, ip, ip.includes(":") ? 6 : 4);
}

/** A socket of Bun's `node:dgram`, which is created when it is bound. */
export class BunDriver implements Driver {
  readonly #type: SocketType;
  readonly #events: DriverEvents;
  #socket: BunSocket | undefined;
  #isRef = true;

  constructor(type: SocketType, events: DriverEvents) {
    this.#type = type;
    this.#events = events;
  }

  get fd(): number {
    const state = (this.#socket as { [STATE]?: { handle?: { fd?: number } } } | undefined)?.[STATE];
    return state?.handle?.fd ?? -1;
  }

  bind(request: BindRequest, done: Done): void {
    const { ip: address, port, reuseAddr, reusePort, ipv6Only, isShared } = request;
    const socket = this.#create({ reuseAddr, reusePort, ipv6Only });
    this.#await(socket, done);
    socket.bind({ address, port, exclusive: !isShared });
  }

  open(fd: number, done: Done): void {
    const socket = this.#create({});
    this.#await(socket, done);
    socket.bind({ fd });
  }

  /** Reports whether a socket is bound, and then what it receives. */
  #await(socket: BunSocket, done: Done): void {
    const refuse = (error: Error) => {
      socket.off("listening", accept);
      const { errno } = error as { errno?: unknown };
      done(typeof errno === "number" && errno !== 0 ? -Math.abs(errno) : error);
    };
    const accept = () => {
      socket.off("error", refuse);
      this.#receive(socket);
      done(0);
    };
    socket.once("error", refuse).once("listening", accept);
  }

  #create(options: object): BunSocket {
    const socket = builtinCreateSocket({ type: this.#type, lookup: returnAddress, ...options });
    if (!this.#isRef) socket.unref();
    this.#socket = socket;
    return socket;
  }

  #receive(socket: BunSocket): void {
    socket.on("error", (error) => this.#events.error(error));
    socket.on("message", (message, { address, family, port, size }) => {
      if (this.#events.isBlocked(address, family)) return;
      this.#events.message(message, { address, family, port, size });
    });
  }

  get #open(): BunSocket {
    if (this.#socket === undefined) throw errnoException(EBADF, "fd");
    return this.#socket;
  }

  connect(ip: string, port: number, done: Done): void {
    const connected = (error?: Error) => done(error ?? 0);
    this.#open.connect(port, ip, connected as () => void);
  }

  disconnect(): void {
    this.#open.disconnect();
  }

  send({ list, oncomplete }: SendRequest, ip: string | undefined, port?: number): number {
    const sent = (error: Error | null, bytes: number) => {
      oncomplete?.(error === null ? 0 : -errnoOf(error), bytes);
    };
    if (ip?.includes(":") === (this.#type === "udp4")) return -EINVAL;
    const callback = oncomplete === undefined ? undefined : sent;
    if (ip === undefined) this.#open.send(list, callback);
    else this.#open.send(list, port, ip, callback);
    return 0;
  }

  cork(): void {}

  uncork(): void {}

  get queuedBytes(): number {
    return this.#socket?.getSendQueueSize() ?? 0;
  }

  get queuedCount(): number {
    return this.#socket?.getSendQueueCount() ?? 0;
  }

  localAddress(): AddressRecord {
    return this.#open.address() as AddressRecord;
  }

  remoteAddress(): AddressRecord {
    return this.#open.remoteAddress() as AddressRecord;
  }

  setBroadcast(isAllowed: boolean): void {
    this.#open.setBroadcast(isAllowed);
  }

  setTTL(ttl: number): void {
    this.#open.setTTL(ttl);
  }

  setMulticastTTL(ttl: number): void {
    this.#open.setMulticastTTL(ttl);
  }

  setMulticastLoopback(isEnabled: boolean): void {
    this.#open.setMulticastLoopback(isEnabled);
  }

  setMulticastInterface(interfaceAddress: string): void {
    this.#open.setMulticastInterface(interfaceAddress);
  }

  joinGroup({ group, source, interfaceAddress }: Group): void {
    const socket = this.#open;
    if (source === undefined) socket.addMembership(group, interfaceAddress);
    else socket.addSourceSpecificMembership(source, group, interfaceAddress);
  }

  leaveGroup({ group, source, interfaceAddress }: Group): void {
    const socket = this.#open;
    if (source === undefined) socket.dropMembership(group, interfaceAddress);
    else socket.dropSourceSpecificMembership(source, group, interfaceAddress);
  }

  bufferBytes(isReceive: boolean, bytes: number): number {
    const socket = this.#open;
    if (bytes === 0) return isReceive ? socket.getRecvBufferSize() : socket.getSendBufferSize();
    if (isReceive) socket.setRecvBufferSize(bytes);
    else socket.setSendBufferSize(bytes);
    return bytes;
  }

  ref(): void {
    this.#isRef = true;
    this.#socket?.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#socket?.unref();
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** @throws SocketError: Bun's sockets have no synchronous form of `syscall`. */
  static refuseSync(syscall: string): never {
    throw unsupportedError(syscall, "the native backend is not used");
  }
}
