/**
 * Socket addresses: IPv4, IPv6 and Unix, immutable, each with the bytes the kernel reads.
 *
 * An address that came with a datagram is kept as those bytes; its text is made when somebody
 * asks. Peers repeat, so a socket takes them from an `AddressCache`: the same peer is the same
 * object, and nothing is allocated for it.
 */

import type { EncodedAddress, ReceiveVector } from "../../ffi/native.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { formatIPv4, formatIPv6, isMappedIPv4, parseIPv4, parseIPv6 } from "./ip.ts";

/** Which kind of address it is. */
export type AddressFamily = "IPv4" | "IPv6" | "unix";

/** <sys/socket.h> of Linux. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Bytes of `sockaddr_in`, `sockaddr_in6`, `sockaddr_un` (ip(7), ipv6(7), unix(7)). */
const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;
const SOCKADDR_UN_BYTES = 110;
const UNIX_PATH_OFFSET = 2;

/** Bytes of the longest Unix path (`sun_path` less its final NUL) and of an abstract name. */
export const UNIX_PATH_BYTES_MAX = 107;

/**
 * The address of a socket. Immutable; compare with `equals`.
 *
 * @example
 * ```ts
 * SocketAddress.ip("192.0.2.1", 53);
 * SocketAddress.parse("[2001:db8::1]:443");
 * SocketAddress.unix("/run/proxy.sock");
 * SocketAddress.abstract("proxy");
 * ```
 */
export class SocketAddress {
  static {
    // What `console.log` and `Bun.inspect` print.
    Object.defineProperty(SocketAddress.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: SocketAddress): string {
        return `SocketAddress(${this})`;
      },
    });
  }

  readonly family: AddressFamily;
  /** @internal What the kernel reads. */
  readonly _encoded: EncodedAddress;
  #text: string | undefined;
  #hash: number | undefined;
  #mapped: SocketAddress | undefined;

  private constructor(words: Int32Array, length: number) {
    this._encoded = { words, length };
    const family = (words[0] as number) & 0xffff;
    this.family = family === AF_INET ? "IPv4" : family === AF_INET6 ? "IPv6" : "unix";
  }

  /**
   * An IPv4 or IPv6 address; IPv6 with a zone as in `fe80::1%eth0` or `fe80::1%2`.
   *
   * @throws TypeError when `address` is no IP address (a host name must be resolved first).
   * @throws RangeError when `port` is no integer 0..65535.
   */
  static ip(address: string, port: number): SocketAddress {
    checkInteger("port", port, 0, 65_535);
    if (typeof address !== "string") throw typeError("address", "IP address", address);
    const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_IN6_BYTES));
    const view = new DataView(bytes.buffer);
    view.setUint16(2, port);
    if (parseIPv4(address, bytes, 4)) {
      view.setUint16(0, AF_INET, true);
      return SocketAddress.#over(bytes, SOCKADDR_IN_BYTES);
    }
    const percent = address.indexOf("%");
    const plain = percent === -1 ? address : address.slice(0, percent);
    const zone = percent === -1 ? undefined : address.slice(percent + 1);
    if (!parseIPv6(plain, bytes, 8)) throw typeError("address", "IP address", address);
    view.setUint16(0, AF_INET6, true);
    if (zone !== undefined) view.setUint32(24, scopeId(zone), true);
    return SocketAddress.#over(bytes, SOCKADDR_IN6_BYTES);
  }

  /**
   * Reads `192.0.2.1:53` or `[2001:db8::1]:53`.
   *
   * @throws TypeError when it is neither.
   */
  static parse(text: string): SocketAddress {
    const match = /^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
    const address = match?.[1] ?? match?.[2];
    if (address === undefined) throw typeError("text", "address:port or [address]:port", text);
    return SocketAddress.ip(address, Number(match?.[3]));
  }

  /**
   * A Unix socket in the file system.
   *
   * @throws RangeError when `path` is empty or longer than 107 bytes of UTF-8 (unix(7)).
   * @throws TypeError when it is no string or has a NUL in it.
   */
  static unix(path: string): SocketAddress {
    if (typeof path !== "string" || path.includes("\0")) {
      throw typeError("path", "string without NUL", path);
    }
    const name = unixName("path", path);
    const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_UN_BYTES + 2));
    bytes[0] = AF_UNIX;
    bytes.set(name, UNIX_PATH_OFFSET);
    return SocketAddress.#over(bytes, UNIX_PATH_OFFSET + name.length + 1);
  }

  /**
   * A Unix socket in Linux's abstract namespace, which has no file and vanishes with its socket.
   *
   * @throws RangeError when `name` is empty or longer than 107 bytes of UTF-8 (unix(7)).
   */
  static abstract(name: string): SocketAddress {
    if (typeof name !== "string") throw typeError("name", "string", name);
    const encoded = unixName("name", name);
    const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_UN_BYTES + 2));
    bytes[0] = AF_UNIX;
    bytes.set(encoded, UNIX_PATH_OFFSET + 1);
    return SocketAddress.#over(bytes, UNIX_PATH_OFFSET + 1 + encoded.length);
  }

  /** @internal The address in `told` bytes of `words` from `index` on, which are copied. */
  static _decode(words: Int32Array, index: number, told: number): SocketAddress {
    const length = lengthOf(told);
    const copy = new Int32Array(new ArrayBuffer(((length + 3) >> 2) << 2));
    copy.set(words.subarray(index, index + copy.length));
    // Bytes behind the end of a Unix name are of an earlier, longer one.
    new Uint8Array(copy.buffer).fill(0, length);
    return new SocketAddress(copy, length);
  }

  static #over(bytes: Uint8Array<ArrayBuffer>, length: number): SocketAddress {
    return new SocketAddress(new Int32Array(bytes.buffer, 0, (length + 3) >> 2), length);
  }

  /**
   * The IP address; for a Unix socket its path, for an abstract one `"\0"` and its name, and `""`
   * for one that is not bound.
   */
  get address(): string {
    this.#text ??= this.#format();
    return this.#text;
  }

  /** The port, 0..65535; 0 for a Unix socket. */
  get port(): number {
    if (this.family === "unix") return 0;
    const word = this._encoded.words[0] as number;
    return ((word >>> 8) & 0xff00) | (word >>> 24);
  }

  /** The index of the interface that a link-local IPv6 address belongs to; 0 for all others. */
  get scopeId(): number {
    return this.family === "IPv6" ? (this._encoded.words[6] as number) >>> 0 : 0;
  }

  /** Whether it is the address of nobody: a Unix socket that is not bound. */
  get isUnnamed(): boolean {
    return this.family === "unix" && this._encoded.length <= UNIX_PATH_OFFSET;
  }

  /** Whether both are the same address, byte for byte. */
  equals(other: SocketAddress): boolean {
    const { words, length } = this._encoded;
    return length === other._encoded.length && sameWords(words, other._encoded.words, 0);
  }

  /** @internal The same for equal addresses, and not to be foreseen from outside. */
  get _hash(): number {
    this.#hash ??= hash(this._encoded.words, 0, this._encoded.length);
    return this.#hash;
  }

  /** `192.0.2.1:53`, `[2001:db8::1]:53`, `unix:/path`, `unix:@abstract` or `unix:`. */
  toString(): string {
    if (this.family === "IPv4") return `${this.address}:${this.port}`;
    if (this.family === "IPv6") return `[${this.address}]:${this.port}`;
    return `unix:${this.address.replace("\0", "@")}`;
  }

  /** @internal Whether it is IPv4-mapped IPv6. */
  get _isMapped(): boolean {
    return this.family === "IPv6" && isMappedIPv4(this.#bytes(), 8);
  }

  /** @internal The IPv4-mapped IPv6 form, in which a dual-stack socket sends to IPv4. */
  _toMapped(): SocketAddress {
    if (this.family !== "IPv4") return this;
    this.#mapped ??= SocketAddress.ip(`::ffff:${this.address}`, this.port);
    return this.#mapped;
  }

  #bytes(): Uint8Array {
    const { words, length } = this._encoded;
    return new Uint8Array(words.buffer, words.byteOffset, length);
  }

  #format(): string {
    const bytes = this.#bytes();
    if (this.family === "IPv4") return formatIPv4(bytes, 4);
    if (this.family === "IPv6") {
      const text = formatIPv6(bytes, 8);
      return this.scopeId === 0 || isMappedIPv4(bytes, 8) ? text : `${text}%${this.scopeId}`;
    }
    const name = bytes.subarray(UNIX_PATH_OFFSET);
    // A path may come with its NUL or, when it fills sun_path, without (unix(7), BUGS).
    const end = name[0] === 0 ? name.length : name.indexOf(0);
    // A byte order mark is part of a name as all else is: without it, it is another file's.
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return decoder.decode(end === -1 ? name : name.subarray(0, end));
  }
}

/**
 * The length of an address of which the kernel told `told` bytes: of a path that fills `sun_path`
 * it counts a final NUL too, for which there is no room, and takes no such length (unix(7), BUGS).
 */
function lengthOf(told: number): number {
  return Math.min(told, SOCKADDR_UN_BYTES);
}

/** Checks that `value` is a `SocketAddress`. */
export function checkAddress(name: string, value: unknown): asserts value is SocketAddress {
  if (!(value instanceof SocketAddress)) throw typeError(name, "SocketAddress", value);
}

function unixName(argument: string, text: string): Uint8Array {
  const name = new TextEncoder().encode(text);
  if (name.length === 0 || name.length > UNIX_PATH_BYTES_MAX) {
    throw rangeError(argument, `1..${UNIX_PATH_BYTES_MAX} bytes of UTF-8`, name.length);
  }
  return name;
}

function scopeId(zone: string): number {
  if (/^\d{1,9}$/.test(zone)) return Number(zone);
  const { networkInterfaces } = process.getBuiltinModule("node:os");
  for (const address of networkInterfaces()[zone] ?? []) {
    if (address.family === "IPv6" && address.scopeid) return address.scopeid;
  }
  throw typeError("zone", "index or name of an interface that has an IPv6 address", zone);
}

/** Whether `words` stand in `other` from `index` on. */
function sameWords(words: Int32Array, other: Int32Array, index: number): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== other[index + i]) return false;
  return true;
}

/** Addresses a cache holds: a power of two. At 200 bytes each, under a megabyte when full. */
const CACHE_SLOTS = 4096;

/**
 * Remembers addresses by their bytes: the same peer is the same object while it is remembered.
 *
 * Bounded, one entry a slot: two peers that share one take turns, which costs time, never truth.
 */
export class AddressCache {
  readonly #slots: (SocketAddress | undefined)[] = [];
  #last: SocketAddress | undefined;

  /** The address in `told` bytes of `words` from `index` on. */
  get(words: Int32Array, index: number, told: number): SocketAddress {
    const length = lengthOf(told);
    // Bytes behind the end of a Unix name are of an earlier, longer one.
    const partial = length & 3;
    if (partial !== 0) {
      const end = index + (length >> 2);
      words[end] = (words[end] as number) & ((1 << (partial * 8)) - 1);
    }
    const last = this.#last;
    if (last !== undefined && matches(last, words, index, length)) return last;
    const slot = hash(words, index, length) & (CACHE_SLOTS - 1);
    let address = this.#slots[slot];
    if (address === undefined || !matches(address, words, index, length)) {
      address = SocketAddress._decode(words, index, length);
      this.#slots[slot] = address;
    }
    this.#last = address;
    return address;
  }
}

function matches(
  address: SocketAddress,
  words: Int32Array,
  index: number,
  length: number,
): boolean {
  const encoded = address._encoded;
  if (encoded.length !== length) return false;
  return sameWords(encoded.words, words, index);
}

/** Peers choose their addresses: without it, some could choose all of one hash. */
const HASH_SEED = crypto.getRandomValues(new Int32Array(1))[0] as number;

function hash(words: Int32Array, index: number, length: number): number {
  let value = length ^ HASH_SEED;
  const count = (length + 3) >> 2;
  for (let i = 0; i < count; i++) {
    value = Math.imul(value ^ (words[index + i] as number), 0x9e37_79b1);
    value ^= value >>> 15;
  }
  return value;
}

/** The addresses that the sockets of this thread remember, of all families. */
export const knownAddresses: AddressCache = new AddressCache();

/** The address that came with message `i` of a vector; absent for a Unix peer without a name. */
export function addressAt(vector: ReceiveVector, i: number): SocketAddress | undefined {
  const length = vector.nameLengthAt(i);
  if (length <= UNIX_PATH_OFFSET) return undefined;
  return knownAddresses.get(vector.words, vector.nameIndex(i), length);
}
