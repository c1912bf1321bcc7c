/**
 * The part of a socket that Node implements in C++: it resolves addresses, and passes everything else
 * to the driver, which is chosen when it is first needed. Its `lookup` and `send` have the form that
 * they have in Node, since programs and tests replace them.
 */

import type { Native } from "../../ffi/native.ts";
import { readVariable } from "../support/environment.ts";
import { loadFunctions } from "../support/native.ts";
import { warn } from "../support/warn.ts";
import { BunDriver } from "./bun-driver.ts";
import type {
  AddressRecord,
  BindRequest,
  Done,
  Driver,
  DriverEvents,
  SendRequest,
  SocketType,
} from "./driver.ts";
import { badType, EBADF, EINVAL, errnoException, invalidFdType } from "./errors.ts";
import { guessFdType } from "./fd-type.ts";
import { NativeDriver } from "./native-driver.ts";
import { checkFunction } from "./validation.ts";

/** The result of a lookup. */
export type Resolved = (error: Error | null, ip: string) => void;
/** The option `lookup`: as `dns.lookup`. */
export type Lookup = (host: string, family: number, callback: Resolved) => void;

const dns = process.getBuiltinModule("node:dns");
const { isIPv4, isIPv6 } = process.getBuiltinModule("node:net");
/** `dns.lookup` returns addresses as they are: no call is needed for them, unless it is replaced. */
const originalLookup: unknown = dns.lookup;

let hasWarned = false;

/** Returns the native functions, unless the portable backend is to be used. */
function loadNativeFunctions(): Native | undefined {
  const wanted = readVariable("DATAGRAM_SOCKET_BACKEND");
  if (wanted === "portable") return undefined;
  const loaded = loadFunctions("socket");
  if ("native" in loaded) return loaded.native;
  if (!hasWarned) warn(`Bun's own node:dgram is used: ${loaded.reason}`);
  hasWarned = true;
  return undefined;
}

/** See above. It is created without an owner by `_createSocketHandle`. */
export class UdpHandle implements DriverEvents {
  readonly type: SocketType;
  /** Gets the datagrams and errors. */
  owner: DriverEvents | undefined;
  lookup: (address: unknown, callback: Resolved) => void;
  readonly #ownLookup: (address: unknown, callback: Resolved) => void;
  /** Whether addresses need no lookup. */
  readonly #isLiteralLookup: boolean;
  /** The address that `isLiteral` has last accepted. */
  #literal = "";
  #driver: Driver | undefined;
  #isRef = true;

  /** @throws TypeError for another type, or a `lookup` that is not a function. */
  constructor(type: unknown, lookup: unknown, owner?: DriverEvents) {
    if (lookup !== undefined) checkFunction("lookup", lookup);
    if (type !== "udp4" && type !== "udp6") throw badType();
    this.type = type;
    this.owner = owner;
    const resolve = (lookup ?? dns.lookup) as Lookup;
    this.#isLiteralLookup = resolve === originalLookup;
    this.lookup = this.#ownLookup = (address, callback) => {
      const host = (address || this.loopback) as string;
      if (this.isLiteral(host)) process.nextTick(callback, null, host);
      else resolve(host, this.family, callback);
    };
  }

  get family(): 4 | 6 {
    return this.type === "udp4" ? 4 : 6;
  }

  /** The address that stands for no address. */
  get loopback(): string {
    return this.type === "udp4" ? "127.0.0.1" : "::1";
  }

  /** The address that stands for all addresses of this host. */
  get any(): string {
    return this.type === "udp4" ? "0.0.0.0" : "::";
  }

  /** Returns whether `lookup` would return `host` itself. */
  isLiteral(host: string): boolean {
    if (!this.#isLiteralLookup || this.lookup !== this.#ownLookup) return false;
    if (host === this.#literal) return true;
    const isOfFamily = this.type === "udp4" ? isIPv4(host) : isIPv6(host);
    if (isOfFamily) this.#literal = host;
    return isOfFamily;
  }

  get fd(): number {
    return this.#driver?.fd ?? -EBADF;
  }

  /** The driver of an open socket. @throws ErrnoException with code EBADF before it is bound. */
  get driver(): Driver {
    if (this.#driver === undefined) throw errnoException(EBADF, "fd");
    return this.#driver;
  }

  bind(request: BindRequest, done: Done): void {
    this.#choose(request.isShared).bind(request, done);
  }

  /** Returns the driver for calls that must not wait. */
  nativeDriver(syscall: string): Driver {
    const driver = this.#choose(false);
    return driver instanceof NativeDriver ? driver : BunDriver.refuseSync(syscall);
  }

  /** Returns the driver for a group that is joined before the socket is bound. */
  groupDriver(): Driver {
    return this.#choose(false);
  }

  /** Adopts a descriptor. @throws TypeError if it is not that of a UDP socket. */
  open(fd: number, isShared: boolean, done: Done): void {
    const native = loadNativeFunctions();
    const type = native === undefined ? "UDP" : guessFdType(native, fd);
    if (type !== "UDP") throw invalidFdType(type);
    this.#choose(isShared).open(fd, done);
  }

  /** @param isShared whether workers of a cluster share the socket: Bun implements that. */
  #choose(isShared: boolean): Driver {
    if (this.#driver !== undefined) return this.#driver;
    const native = isShared ? undefined : loadNativeFunctions();
    const driver =
      native === undefined
        ? new BunDriver(this.type, this)
        : new NativeDriver(native, this.type === "udp6", this);
    if (!this.#isRef) driver.unref();
    this.#driver = driver;
    return driver;
  }

  /**
   * Sends a datagram: `(request, list, count, hasCallback)` to the connected peer, or
   * `(request, list, count, port, ip, hasCallback)`. Returns as `Driver.send`.
   */
  send(
    request: SendRequest,
    _list: readonly Uint8Array[],
    _count: number,
    port?: number | boolean,
    ip?: string,
    _hasCallback?: boolean,
  ): number {
    if (this.#driver === undefined) return -EBADF;
    if (typeof port !== "number") return this.#driver.send(request, undefined, undefined);
    if (ip === undefined) return -EINVAL;
    return this.#driver.send(request, ip, port);
  }

  /** Calls `send`, in which `this.send` is called any number of times, and sends all together. */
  sendTogether(send: () => void): void {
    this.#driver?.cork();
    try {
      send();
    } finally {
      this.#driver?.uncork();
    }
  }

  /** As in Node. @param bytes the length of the message, or an error number, negative. */
  onmessage(bytes: number, _handle: unknown, message: Buffer, peer: AddressRecord): void {
    if (bytes < 0) this.error(errnoException(bytes, "recvmsg"));
    else this.message(message, { ...peer, size: bytes });
  }

  isBlocked(ip: string, family: "IPv4" | "IPv6"): boolean {
    return this.owner?.isBlocked(ip, family) === true;
  }

  message(bytes: Buffer, peer: AddressRecord & { size: number }): void {
    this.owner?.message(bytes, peer);
  }

  error(error: Error): void {
    this.owner?.error(error);
  }

  getSendQueueSize(): number {
    return this.#driver?.queuedBytes ?? 0;
  }

  getSendQueueCount(): number {
    return this.#driver?.queuedCount ?? 0;
  }

  hasRef(): boolean {
    return this.#isRef;
  }

  ref(): void {
    this.#isRef = true;
    this.#driver?.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#driver?.unref();
  }

  close(): void {
    this.#driver?.close();
  }
}
