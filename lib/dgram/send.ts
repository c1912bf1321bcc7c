/** Sends datagrams: the forms of `send`. */

import type { EventEmitter } from "node:events";
import { bind, whenBound } from "./bind.ts";
import { blockedError } from "./connect.ts";
import type { SendRequest } from "./driver.ts";
import { hostPortException, isConnected } from "./errors.ts";
import { BOUND, CONNECTED, openHandle, stateOf, UNBOUND } from "./state.ts";
import { atEndOfTick } from "./tick.ts";
import { checkPort, checkString, sliceMessage, toPieces } from "./validation.ts";

type Callback = ((error: Error | null, bytes?: number) => void) | undefined;

/** A checked call of `send`. */
interface Outgoing {
  readonly list: readonly Uint8Array[];
  /** Absent for the connected peer. */
  readonly port: number | undefined;
  readonly address: string | undefined;
  readonly callback: Callback;
}

/** As `Socket.prototype.send`, with the arguments of that call. */
export function send(socket: EventEmitter, args: readonly unknown[]): void {
  const state = stateOf(socket);
  const outgoing = state.connectState === CONNECTED ? toPeer(args) : toAddress(args);
  openHandle(socket);
  if (state.bindState === UNBOUND) bind(socket, [{ port: 0, exclusive: true }, null]);
  if (state.bindState === BOUND) resolveAndSend(socket, outgoing);
  else whenBound(socket, () => resend(socket, outgoing));
}

/** Sends what has waited until the socket is bound. */
function resend(socket: EventEmitter, { list, port, address, callback }: Outgoing): void {
  const isToPeer = stateOf(socket).connectState === CONNECTED;
  // A socket that is connected by now refuses a port, as with any other call.
  send(socket, isToPeer && port === undefined ? [list, callback] : [list, port, address, callback]);
}

/** `(message, offset, length, callback?)` or `(message, callback?)`. */
function toPeer(args: readonly unknown[]): Outgoing {
  const [message, second, length, fourth, address, sixth] = args;
  let list: readonly Uint8Array[] | undefined;
  let [callback, port] = [sixth, fourth];
  if (typeof length === "number") {
    list = [sliceMessage(message, second, length)];
    if (typeof fourth === "function") [callback, port] = [fourth, null];
  } else {
    callback = second;
  }
  if (port || address) throw isConnected();
  list ??= toPieces(message);
  return { list, port: undefined, address: undefined, callback: asCallback(callback) };
}

/**
 * `(message, offset, length, port, address?, callback?)` or `(message, port, address?, callback?)`.
 */
function toAddress(args: readonly unknown[]): Outgoing {
  const [message, second, third, fourth, fifth, sixth] = args;
  const isSlice = fifth || (fourth && typeof fourth !== "function");
  const list = isSlice ? [sliceMessage(message, second, third)] : toPieces(message);
  const [port, host, last] = isSlice ? [fourth, fifth, sixth] : [second, third, fourth];
  const checkedPort = checkPort(port);
  const callback = asCallback(typeof host === "function" ? host : last);
  if (typeof host === "function" || host === undefined || host === null) {
    return { list, port: checkedPort, address: undefined, callback };
  }
  checkString("address", host);
  return { list, port: checkedPort, address: host, callback };
}

function asCallback(value: unknown): Callback {
  return typeof value === "function" ? (value as Callback) : undefined;
}

function resolveAndSend(socket: EventEmitter, outgoing: Outgoing): void {
  const handle = openHandle(socket);
  const { port, address } = outgoing;
  if (port === undefined) {
    sendTo(socket, undefined, outgoing);
    return;
  }
  const host = address || handle.loopback;
  if (handle.isLiteral(host)) {
    sendInTick(socket, host, outgoing);
    return;
  }
  handle.lookup(address, (error, ip) => {
    if (error) fail(socket, error, outgoing.callback);
    else if (stateOf(socket).handle !== null) sendTo(socket, ip, outgoing);
  });
}

/** Datagrams to addresses, which are sent when the current tick ends, as in Node. */
let pending: [EventEmitter, string, Outgoing][] = [];

function sendInTick(socket: EventEmitter, ip: string, outgoing: Outgoing): void {
  if (pending.length === 0) atEndOfTick(sendPending);
  pending.push([socket, ip, outgoing]);
}

/** Sends the datagrams of this tick, those of one socket in a row together. */
function sendPending(): void {
  const datagrams = pending;
  pending = [];
  for (let i = 0; i < datagrams.length; ) {
    const [socket] = datagrams[i] as (typeof datagrams)[number];
    let end = i + 1;
    while (end < datagrams.length && datagrams[end]?.[0] === socket) end++;
    // Without a handle, the socket has been closed: no callback is called.
    stateOf(socket).handle?.sendTogether(() => {
      for (const [, ip, outgoing] of datagrams.slice(i, end)) sendTo(socket, ip, outgoing);
    });
    i = end;
  }
}

function fail(socket: EventEmitter, error: Error, callback: Callback): void {
  if (callback !== undefined) process.nextTick(callback, error);
  else process.nextTick(() => socket.emit("error", error));
}

function sendTo(socket: EventEmitter, ip: string | undefined, outgoing: Outgoing): void {
  const state = stateOf(socket);
  const { list, port, address, callback } = outgoing;
  const blocked = ip === undefined ? undefined : blockedError(state, ip);
  if (blocked !== undefined) {
    if (callback !== undefined) process.nextTick(callback, blocked);
    return;
  }
  const oncomplete =
    callback &&
    ((error: number, bytes: number) => {
      if (error === 0) callback(null, bytes);
      else callback(hostPortException(error, "send", address, port), bytes);
    });
  const request: SendRequest = { list, address, port, oncomplete };
  const handle = openHandle(socket);
  const result =
    port === undefined
      ? handle.send(request, list, list.length, !!callback)
      : handle.send(request, list, list.length, port, ip, !!callback);
  if (result === 0 || callback === undefined) return;
  if (result > 0) process.nextTick(callback, null, result - 1);
  else process.nextTick(callback, hostPortException(result, "send", address, port));
}
