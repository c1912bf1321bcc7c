/** Connects sockets to a peer: `connect`, `connectSync`, `disconnect`. */

import type { EventEmitter } from "node:events";
import { bind, bindSync, whenBound } from "./bind.ts";
import {
  alreadyBound,
  asNode,
  blockedAddress,
  hostPortException,
  isConnected,
  notConnected,
} from "./errors.ts";
import {
  BINDING,
  BOUND,
  CONNECTED,
  CONNECTING,
  DISCONNECTED,
  openHandle,
  type State,
  stateOf,
  UNBOUND,
} from "./state.ts";
import { checkLiteral, checkPort, checkString } from "./validation.ts";

type Callback = ((error?: Error) => void) | undefined;

/** Returns the error of an address that `sendBlockList` blocks. */
export function blockedError({ sendBlockList }: State, ip: string): Error | undefined {
  if (!sendBlockList) return undefined;
  const family = ip.includes(":") ? "ipv6" : "ipv4";
  return sendBlockList.check(ip, family) ? blockedAddress(ip) : undefined;
}

/** As `Socket.prototype.connect`. */
export function connect(socket: EventEmitter, port: unknown, host: unknown, done: unknown): void {
  const peerPort = checkPort(port);
  const callback = (typeof host === "function" ? host : done) as Callback;
  const address = typeof host === "function" || host === undefined ? "" : host;
  checkString("address", address);
  const state = stateOf(socket);
  if (state.connectState !== DISCONNECTED) throw isConnected();
  state.connectState = CONNECTING;
  if (state.bindState === UNBOUND) bind(socket, [{ port: 0, exclusive: true }, null]);
  const call = () => resolveAndConnect(socket, peerPort, address, callback);
  if (state.bindState === BOUND) call();
  else whenBound(socket, call);
}

function resolveAndConnect(
  socket: EventEmitter,
  port: number,
  address: string,
  callback: Callback,
): void {
  const state = stateOf(socket);
  if (callback) socket.once("connect", callback);
  openHandle(socket).lookup(address, (error, ip) => {
    if (state.handle === null) return;
    const failure = error ?? blockedError(state, ip);
    if (failure) refuse(socket, failure, callback);
    else connectTo(socket, ip, port, { address, callback });
  });
}

function connectTo(
  socket: EventEmitter,
  ip: string,
  port: number,
  { address, callback }: { address: string; callback: Callback },
): void {
  const state = stateOf(socket);
  state.handle?.driver.connect(ip, port, (result) => {
    if (state.handle === null) return;
    if (result !== 0) {
      const isNumber = typeof result === "number";
      const error = isNumber ? hostPortException(result, "connect", address, port) : result;
      refuse(socket, error, callback);
      return;
    }
    state.connectState = CONNECTED;
    process.nextTick(() => socket.emit("connect"));
  });
}

function refuse(socket: EventEmitter, error: Error, callback: Callback): void {
  stateOf(socket).connectState = DISCONNECTED;
  process.nextTick(() => {
    if (callback) {
      socket.removeListener("connect", callback);
      callback(error);
    } else {
      socket.emit("error", error);
    }
  });
}

/** As `Socket.prototype.connectSync`. */
export function connectSync(socket: EventEmitter, port: unknown, host: unknown): void {
  const peerPort = checkPort(port);
  const state = stateOf(socket);
  const handle = openHandle(socket);
  if (host !== undefined && host !== "") checkLiteral("address", host, handle.family);
  const ip = (host || handle.loopback) as string;
  if (state.connectState !== DISCONNECTED) throw isConnected();
  if (state.bindState === BINDING) throw alreadyBound();
  const blocked = blockedError(state, ip);
  if (blocked !== undefined) throw blocked;
  const driver = handle.nativeDriver("connectSync");
  if (state.bindState === UNBOUND) bindSync(socket);
  driver.connect(ip, peerPort, (result) => {
    if (typeof result !== "number") throw result;
    if (result !== 0) throw hostPortException(result, "connect", ip, peerPort);
  });
  state.connectState = CONNECTED;
  process.nextTick(() => {
    if (state.handle !== null) socket.emit("connect");
  });
}

/** As `Socket.prototype.disconnect`. */
export function disconnect(socket: EventEmitter): void {
  const state = stateOf(socket);
  if (state.connectState !== CONNECTED) throw notConnected();
  const { driver } = openHandle(socket);
  asNode("connect", () => driver.disconnect());
  state.connectState = DISCONNECTED;
}
