/** Binds sockets: `bind`, `bindSync`, and the calls that wait until a socket is bound. */

import { EventEmitter } from "node:events";
import { bufferSize } from "./buffer-size.ts";
import type { AddressRecord, BindRequest } from "./driver.ts";
import { alreadyBound, asNode, errnoException, errnoOf, hostPortException } from "./errors.ts";
import { UdpHandle } from "./handle.ts";
import { BINDING, BOUND, openHandle, stateOf, UNBOUND } from "./state.ts";
import { checkLiteral } from "./validation.ts";

/** The first argument of `bind` in its object form. */
export interface BindOptions {
  readonly port?: unknown;
  readonly address?: unknown;
  readonly exclusive?: unknown;
  readonly fd?: unknown;
}

/** Returns whether this process is a worker of a cluster. */
function isClusterWorker(): boolean {
  return process.getBuiltinModule("node:cluster").isWorker;
}

/** As `Socket.prototype.bind`, with the arguments of that call. */
export function bind(socket: EventEmitter, args: readonly unknown[]): void {
  const state = stateOf(socket);
  const handle = openHandle(socket);
  if (state.bindState !== UNBOUND) throw alreadyBound();
  state.bindState = BINDING;
  const callback = args.at(-1);
  if (typeof callback === "function") callWhenBound(socket, callback as () => void);
  const [first, second] = args;
  if (first instanceof UdpHandle) {
    adoptHandle(socket, first);
    return;
  }
  const isObject = typeof first === "object" && first !== null;
  const options = (isObject ? first : {}) as BindOptions;
  const { fd } = options;
  if (typeof fd === "number" && (fd | 0) === fd && fd > 0) {
    adoptFd(socket, handle, fd, !options.exclusive);
    return;
  }
  const address = isObject ? options.address : typeof second === "function" ? "" : second;
  const port = isObject ? options.port : typeof first === "function" ? undefined : first;
  bindTo(socket, handle, {
    address: address || handle.any,
    port,
    isExclusive: !!options.exclusive,
  });
}

function callWhenBound(socket: EventEmitter, callback: () => void): void {
  function remove(): void {
    socket.removeListener("error", remove);
    socket.removeListener("listening", bound);
  }
  function bound(): void {
    remove();
    callback.call(socket);
  }
  socket.on("error", remove);
  socket.on("listening", bound);
}

function adoptHandle(socket: EventEmitter, handle: UdpHandle): void {
  const state = stateOf(socket);
  const old = state.handle;
  if (old?.hasRef() === false) handle.unref();
  old?.close();
  state.handle = handle;
  handle.owner = old?.owner;
  startListening(socket);
}

function adoptFd(socket: EventEmitter, handle: UdpHandle, fd: number, mayShare: boolean): void {
  try {
    handle.open(fd, mayShare && isClusterWorker(), (result) => finishBind(socket, result, "open"));
  } catch (error) {
    if (typeof (error as { errno?: unknown }).errno !== "number") throw error;
    throw errnoException(errnoOf(error), "open");
  }
}

/** Reports the result of a call that binds the socket. */
function finishBind(socket: EventEmitter, result: number | Error, syscall: string): void {
  const state = stateOf(socket);
  if (state.handle === null) return;
  if (result === 0) {
    startListening(socket);
    return;
  }
  state.bindState = UNBOUND;
  socket.emit("error", typeof result === "number" ? errnoException(result, syscall) : result);
}

function bindTo(
  socket: EventEmitter,
  handle: UdpHandle,
  { address, port, isExclusive }: { address: unknown; port: unknown; isExclusive: boolean },
): void {
  const state = stateOf(socket);
  const fail = (error: Error) => {
    state.bindState = UNBOUND;
    socket.emit("error", error);
  };
  handle.lookup(address, (error, ip) => {
    // `null` after `close`.
    if (state.handle === null) return;
    if (error) {
      fail(error);
      return;
    }
    const isShared = !isExclusive && !state.reusePort && isClusterWorker();
    handle.bind(bindRequest(socket, ip, port, isShared), (result) => {
      const isErrno = typeof result === "number" && result !== 0;
      const outcome = isErrno ? hostPortException(result, "bind", ip, port) : result;
      finishBind(socket, outcome, "bind");
    });
  });
}

function bindRequest(
  socket: EventEmitter,
  ip: string,
  port: unknown,
  isShared: boolean,
): BindRequest {
  const { reuseAddr, reusePort, ipv6Only } = stateOf(socket);
  return {
    ip,
    port: Number(port ?? 0) & 0xffff,
    reuseAddr: !!reuseAddr,
    reusePort: !!reusePort,
    ipv6Only: !!ipv6Only,
    isShared,
  };
}

/** As `Socket.prototype.bindSync`. */
export function bindSync(socket: EventEmitter, options: BindOptions = {}): AddressRecord {
  const state = stateOf(socket);
  const handle = openHandle(socket);
  if (state.bindState !== UNBOUND) throw alreadyBound();
  const { port = 0, address } = options;
  if (address) checkLiteral("options.address", address, handle.family);
  const ip = (address || handle.any) as string;
  const driver = handle.nativeDriver("bindSync");
  driver.bind(bindRequest(socket, ip, port, false), (result) => {
    if (typeof result !== "number") throw result;
    if (result !== 0) throw hostPortException(result, "bind", ip, port);
  });
  markListening(socket);
  process.nextTick(() => {
    if (state.handle !== null) socket.emit("listening");
  });
  return asNode("getsockname", () => driver.localAddress());
}

function startListening(socket: EventEmitter): void {
  markListening(socket);
  socket.emit("listening");
}

function markListening(socket: EventEmitter): void {
  const state = stateOf(socket);
  state.receiving = true;
  state.bindState = BOUND;
  if (state.recvBufferSize) bufferSize(socket, state.recvBufferSize, true);
  if (state.sendBufferSize) bufferSize(socket, state.sendBufferSize, false);
}

/** Calls `call` when the socket is bound. If it cannot be bound, the call is dropped. */
export function whenBound(socket: EventEmitter, call: () => void): void {
  const state = stateOf(socket);
  if (state.queue === undefined) {
    state.queue = [];
    socket.once(EventEmitter.errorMonitor, dropQueue);
    socket.once("listening", runQueue);
  }
  state.queue.push(call);
}

function runQueue(this: EventEmitter): void {
  this.removeListener(EventEmitter.errorMonitor as unknown as string, dropQueue);
  const state = stateOf(this);
  const { queue = [] } = state;
  state.queue = undefined;
  for (const call of queue) call();
}

function dropQueue(this: EventEmitter): void {
  this.removeListener("listening", runQueue);
  stateOf(this).queue = undefined;
}
