/** The `Socket` of `node:dgram`. */

import { EventEmitter } from "node:events";
import { type BindOptions, bind, bindSync } from "./bind.ts";
import { bufferSize } from "./buffer-size.ts";
import { connect, connectSync, disconnect } from "./connect.ts";
import type { AddressRecord, Driver, DriverEvents, Group } from "./driver.ts";
import { asNode, EBADF, errnoException, missingArgument, notConnected } from "./errors.ts";
import { newState, type RawOptions } from "./options.ts";
import { send } from "./send.ts";
import { CONNECTED, openHandle, setState, stateOf } from "./state.ts";
import { checkNumber, checkSignal, checkString } from "./validation.ts";

const { promisify } = process.getBuiltinModule("node:util");
const { channel } = process.getBuiltinModule("node:diagnostics_channel");
const created = channel("udp.socket");

/** A socket. `Socket` in index.ts is the function that creates and initializes them. */
export class DgramSocket extends EventEmitter {
  declare readonly type: string;

  constructor(type: unknown, listener?: unknown) {
    super();
    initialize(this, type, listener);
  }

  bind(...args: unknown[]): this {
    bind(this, args);
    return this;
  }

  bindSync(options?: BindOptions): AddressRecord {
    return bindSync(this, options);
  }

  connect(port: unknown, address?: unknown, callback?: unknown): void {
    connect(this, port, address, callback);
  }

  connectSync(port: unknown, address?: unknown): void {
    connectSync(this, port, address);
  }

  disconnect(): void {
    disconnect(this);
  }

  send(...args: unknown[]): void {
    send(this, args);
  }

  sendto(
    message: unknown,
    offset: unknown,
    length: unknown,
    port: unknown,
    address: unknown,
    callback?: unknown,
  ): void {
    checkNumber("offset", offset);
    checkNumber("length", length);
    checkNumber("port", port);
    checkString("address", address);
    this.send(message, offset, length, port, address, callback);
  }

  close(callback?: () => void): this {
    const state = stateOf(this);
    if (typeof callback === "function") this.on("close", callback);
    if (state.queue !== undefined) {
      state.queue.push(() => this.close());
      return this;
    }
    const handle = openHandle(this);
    state.receiving = false;
    state.handle = null;
    handle.close();
    process.nextTick(() => this.emit("close"));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (stateOf(this).handle === null) return;
    await promisify((done: () => void) => this.close(done))();
  }

  address(): AddressRecord {
    const handle = openHandle(this);
    return asNode("getsockname", () => handle.driver.localAddress());
  }

  remoteAddress(): AddressRecord {
    const handle = openHandle(this);
    if (stateOf(this).connectState !== CONNECTED) throw notConnected();
    return asNode("getpeername", () => handle.driver.remoteAddress());
  }

  setBroadcast(isAllowed: unknown): void {
    change(this, "setBroadcast", (driver) => driver.setBroadcast(!!isAllowed));
  }

  setTTL(ttl: number): number {
    checkNumber("ttl", ttl);
    change(this, "setTTL", (driver) => driver.setTTL(ttl));
    return ttl;
  }

  setMulticastTTL(ttl: number): number {
    checkNumber("ttl", ttl);
    change(this, "setMulticastTTL", (driver) => driver.setMulticastTTL(ttl));
    return ttl;
  }

  setMulticastLoopback(isEnabled: unknown): unknown {
    change(this, "setMulticastLoopback", (driver) => driver.setMulticastLoopback(!!isEnabled));
    return isEnabled;
  }

  setMulticastInterface(address: unknown): void {
    const handle = openHandle(this);
    checkString("interfaceAddress", address);
    // Checks the address before whether the socket is bound.
    asNode("setMulticastInterface", () => handle.groupDriver().setMulticastInterface(address));
  }

  addMembership(group: unknown, interfaceAddress?: unknown): void {
    changeGroup(this, "addMembership", { group, interfaceAddress });
  }

  dropMembership(group: unknown, interfaceAddress?: unknown): void {
    changeGroup(this, "dropMembership", { group, interfaceAddress });
  }

  addSourceSpecificMembership(source: unknown, group: unknown, interfaceAddress?: unknown): void {
    changeGroup(this, "addSourceSpecificMembership", { source, group, interfaceAddress });
  }

  dropSourceSpecificMembership(source: unknown, group: unknown, interfaceAddress?: unknown): void {
    changeGroup(this, "dropSourceSpecificMembership", { source, group, interfaceAddress });
  }

  ref(): this {
    stateOf(this).handle?.ref();
    return this;
  }

  unref(): this {
    stateOf(this).handle?.unref();
    return this;
  }

  setRecvBufferSize(bytes: number): void {
    bufferSize(this, bytes, true);
  }

  setSendBufferSize(bytes: number): void {
    bufferSize(this, bytes, false);
  }

  getRecvBufferSize(): number {
    return bufferSize(this, 0, true);
  }

  getSendBufferSize(): number {
    return bufferSize(this, 0, false);
  }

  getSendQueueSize(): number {
    return openHandle(this).getSendQueueSize();
  }

  getSendQueueCount(): number {
    return openHandle(this).getSendQueueCount();
  }
}

/** Initializes a socket, or an object of a class that inherits from `Socket` without `extends`. */
export function initialize(socket: DgramSocket, typeOrOptions: unknown, listener: unknown): void {
  const isObject = typeof typeOrOptions === "object" && typeOrOptions !== null;
  const options = (isObject ? typeOrOptions : { type: typeOrOptions }) as RawOptions;
  const state = newState(options, eventsOf(socket));
  Object.assign(socket, { type: options.type });
  if (typeof listener === "function") socket.on("message", listener as () => void);
  setState(socket, state);
  if (options.signal !== undefined) closeOnAbort(socket, options.signal);
  if (created.hasSubscribers) created.publish({ socket });
}

/** Passes what happens on a socket to its listeners. */
export function eventsOf(socket: DgramSocket): DriverEvents {
  return {
    isBlocked: (ip, family) => {
      const { receiveBlockList } = stateOf(socket);
      return !!receiveBlockList?.check(ip, family === "IPv4" ? "ipv4" : "ipv6");
    },
    message: (message, info) => socket.emit("message", message, info),
    error: (error) => socket.emit("error", error),
  };
}

function closeOnAbort(socket: DgramSocket, signal: unknown): void {
  checkSignal("options.signal", signal);
  const close = () => {
    if (stateOf(socket).handle !== null) socket.close();
  };
  if (signal.aborted) {
    close();
    return;
  }
  signal.addEventListener("abort", close, { once: true });
  socket.once("close", () => signal.removeEventListener("abort", close));
}

/** Changes an option. @throws ErrnoException if the system refuses, or if the socket is not bound. */
function change(socket: DgramSocket, syscall: string, apply: (driver: Driver) => void): void {
  const { handle } = stateOf(socket);
  if (handle === null) throw errnoException(EBADF, syscall);
  asNode(syscall, () => apply(handle.driver));
}

type GroupCall = "addMembership" | "dropMembership" | `${"add" | "drop"}SourceSpecificMembership`;

/** Joins or leaves a group, which binds the socket if it is not bound. */
function changeGroup(
  socket: DgramSocket,
  call: GroupCall,
  {
    source,
    group,
    interfaceAddress,
  }: { source?: unknown; group: unknown; interfaceAddress: unknown },
): void {
  const handle = openHandle(socket);
  if (call.includes("Source")) {
    checkString("sourceAddress", source);
    checkString("groupAddress", group);
  } else if (!group) {
    throw missingArgument("multicastAddress");
  }
  const request = { source, group, interfaceAddress } as Group;
  asNode(call, () => {
    const driver = handle.groupDriver();
    if (call.startsWith("add")) driver.joinGroup(request);
    else driver.leaveGroup(request);
  });
}
