/** Socket addresses: IPv4, IPv6 and Unix, immutable, stored in the kernel's representation. */

import type { EncodedAddress } from "../../ffi/native.ts";
import {
  argumentError,
  checkInteger,
  constructorError,
  inspectAs,
  rangeError,
  typeError,
} from "../support/check.ts";
import { isShared, otherVersionOf, sharedClass } from "../support/thread-state.ts";
import { interfaceIndex } from "./interfaces.ts";
import { formatIPv4, formatIPv6, isMappedIPv4, parseIPv4, parseIPv6 } from "./ip.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  hashSockaddr,
  SOCKADDR_IN_BYTES,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_UN_BYTES,
  sameWords,
  sockaddrLength,
  UNIX_PATH_BYTES_MAX,
  UNIX_PATH_OFFSET,
} from "./sockaddr.ts";

/** Only this module creates addresses: the kernel reads as many bytes as they say. */
const THIS_MODULE = {};

const REMEDY = "create one with SocketAddress.ip, parse, unix or abstract";

/** The maximum of `sin6_scope_id`. */
const SCOPE_ID_MAX = 2 ** 32 - 1;

/** The kind of an address. */
export type AddressFamily = "IPv4" | "IPv6" | "unix";

/** Bytes 8 to 11 of an IPv4-mapped address, `::ffff:0:0/96` (RFC 4291, section 2.5.5.2). */
const MAPPED_WORD = 0xffff_0000 | 0;

/**
 * The address of a socket. Immutable; compare with `equals`. The text is formatted on first use.
 *
 * `structuredClone` and `postMessage` do not transfer an address: they copy its public fields only. Send
 * the text, and parse it: `SocketAddress.parse(address.toString())`. Addresses of another version of the
 * library in the process are accepted as `{ address, port }` is; `instanceof` is false for them.
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
    inspectAs(SocketAddress.prototype, (address) => `SocketAddress(${address})`);
  }

  /** The kind of the address: `"IPv4"`, `"IPv6"` or `"unix"`. */
  readonly family: AddressFamily;
  /** @internal The bytes that the kernel reads. */
  readonly _encoded: EncodedAddress;
  #text: string | undefined;
  #hash: number | undefined;
  #mapped: SocketAddress | undefined;

  private constructor(words: Int32Array, length: number, caller: unknown) {
    if (caller !== THIS_MODULE) throw constructorError("SocketAddress", REMEDY);
    this._encoded = Object.freeze({ words, length });
    const family = (words[0] as number) & 0xffff;
    this.family = family === AF_INET ? "IPv4" : family === AF_INET6 ? "IPv6" : "unix";
    // No property can be overridden later: sends read addresses after they have checked the memory
    // of the payloads, when no code of the caller may run. Takes 25 ns.
    Object.freeze(this);
  }

  /** @internal Returns whether `value` is a genuine address: no `Proxy`, no object that inherits. */
  static _isGenuine(value: unknown): value is SocketAddress {
    return typeof value === "object" && value !== null && #hash in value;
  }

  /**
   * Returns an IPv4 or IPv6 address. An IPv6 address may have a zone (RFC 4007), the name or index of
   * an interface: `fe80::1%eth0`, `ff02::1%2`. An index is 0..2^32-1, and 0 is no zone.
   *
   * @throws TypeError if `address` is not an IP address (host names must be resolved first), if the
   * zone is not an interface of this host, or if an IPv4-mapped address has one: IPv4 has no zones.
   * @throws RangeError if `port` is not an integer 0..65535, or the index of the zone too large.
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
    if (!parseIPv6(plain, bytes, 8)) throw ipError(address);
    view.setUint16(0, AF_INET6, true);
    if (zone !== undefined) {
      if (isMappedIPv4(bytes, 8)) throw typeError("zone", "none for an IPv4-mapped address", zone);
      view.setUint32(24, interfaceIndex("zone", zone, SCOPE_ID_MAX), true);
    }
    return SocketAddress.#over(bytes, SOCKADDR_IN6_BYTES);
  }

  /**
   * Parses what `toString` returns: `192.0.2.1:53`, `[2001:db8::1]:53`, `unix:/path` or `unix:@name`.
   *
   * @throws TypeError if `text` has another form; RangeError as `ip` and `unix`.
   */
  static parse(text: string): SocketAddress {
    if (typeof text !== "string") throw typeError("text", "string", text);
    if (text.startsWith("unix:") && text.length > 5) return parseUnix(text.slice(5));
    const match = /^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
    const address = match?.[1] ?? match?.[2];
    if (address === undefined) throw typeError("text", "address:port or [address]:port", text);
    return SocketAddress.ip(address, Number(match?.[3]));
  }

  /**
   * Returns the address of a Unix socket in the file system.
   *
   * @throws RangeError if `path` is empty or longer than 107 bytes of UTF-8 (unix(7)).
   * @throws TypeError if `path` is not a string or contains a NUL.
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
   * Returns the address of a Unix socket in the abstract namespace of Linux, which has no file and
   * ceases to exist when its socket is closed.
   *
   * @throws RangeError if `name` is empty or longer than 107 bytes of UTF-8 (unix(7)).
   * @throws TypeError if `name` is not a string.
   */
  static abstract(name: string): SocketAddress {
    if (typeof name !== "string") throw typeError("name", "string", name);
    const encoded = unixName("name", name);
    const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_UN_BYTES + 2));
    bytes[0] = AF_UNIX;
    bytes.set(encoded, UNIX_PATH_OFFSET + 1);
    return SocketAddress.#over(bytes, UNIX_PATH_OFFSET + 1 + encoded.length);
  }

  /** @internal Copies the address at `index` of `words`; the kernel reported `reportedBytes`. */
  static _decode(words: Int32Array, index: number, reportedBytes: number): SocketAddress {
    const length = sockaddrLength(reportedBytes);
    const count = (length + 3) >> 2;
    // Without an `ArrayBuffer`, which would take 250 bytes more, and most of the time.
    const copy = new Int32Array(count);
    for (let i = 0; i < count; i++) copy[i] = words[index + i] as number;
    // The bytes after the end of a Unix name may belong to an earlier, longer name.
    const lastBytes = length % 4;
    if (lastBytes > 0) copy[count - 1] = (copy[count - 1] as number) & ((1 << (8 * lastBytes)) - 1);
    return new SocketAddress(copy, length, THIS_MODULE);
  }

  static #over(bytes: Uint8Array<ArrayBuffer>, length: number): SocketAddress {
    const words = new Int32Array(bytes.buffer, 0, (length + 3) >> 2);
    return new SocketAddress(words, length, THIS_MODULE);
  }

  /**
   * The IP address; the path of a Unix socket; `"\0"` and the name of an abstract one; `""` for a
   * Unix socket without a name.
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

  /** The zone of an IPv6 address, an interface index; 0 if there is none. */
  get scopeId(): number {
    return this.family === "IPv6" ? (this._encoded.words[6] as number) >>> 0 : 0;
  }

  /** Whether this is the address of a Unix socket that is not bound. */
  get isUnnamed(): boolean {
    return this.family === "unix" && this._encoded.length <= UNIX_PATH_OFFSET;
  }

  /**
   * Returns whether both addresses have the same bytes; false for `undefined`.
   *
   * @param other an address, or an object with an IP address and a port, as sends accept.
   * @throws TypeError or RangeError for other values.
   */
  equals(other: Destination | undefined): boolean {
    if (other === undefined) return false;
    const encoded = toAddress("other", other)._encoded;
    const { words, length } = this._encoded;
    return length === encoded.length && sameWords(words, encoded.words, 0);
  }

  /** @internal The same for equal addresses. Seeded, so that peers cannot choose it. */
  get _hash(): number {
    this.#hash ??= hashSockaddr(this._encoded.words, 0, this._encoded.length);
    return this.#hash;
  }

  /**
   * Returns `192.0.2.1:53`, `[2001:db8::1]:53`, `unix:/path`, `unix:@abstract` or `unix:`. The path
   * `@file` becomes `unix:./@file`, so that it differs from the abstract name `file`. Control characters
   * of a path or name are printed as `\\x1b`, and a backslash twice.
   */
  toString(): string {
    if (this.family === "IPv4") return `${this.address}:${this.port}`;
    if (this.family === "IPv6") return `[${this.address}]:${this.port}`;
    const name = this.address;
    if (name.startsWith("\0")) return `unix:@${escapeControls(name.slice(1))}`;
    return name.startsWith("@") ? `unix:./${escapeControls(name)}` : `unix:${escapeControls(name)}`;
  }

  /** Returns the text of `toString`. */
  toJSON(): string {
    return this.toString();
  }

  /** @internal Whether this is an IPv4-mapped IPv6 address. */
  get _isMapped(): boolean {
    if (this.family !== "IPv6") return false;
    const { words } = this._encoded;
    return words[2] === 0 && words[3] === 0 && words[4] === MAPPED_WORD;
  }

  /** @internal Returns the IPv4-mapped form, which a dual-stack socket uses for IPv4 peers. */
  _toMapped(): SocketAddress {
    if (this.family !== "IPv4") return this;
    this.#mapped ??= SocketAddress.ip(`::ffff:${this.address}`, this.port);
    return this.#mapped;
  }

  /** A copy: the access to the `buffer` of a small array moves it, and takes more memory. */
  #bytes(): Uint8Array {
    const { words, length } = this._encoded;
    return new Uint8Array(new Int32Array(words).buffer, 0, length);
  }

  #format(): string {
    const bytes = this.#bytes();
    if (this.family === "IPv4") return formatIPv4(bytes, 4);
    if (this.family === "IPv6") {
      const text = formatIPv6(bytes, 8);
      return this.scopeId === 0 ? text : `${text}%${this.scopeId}`;
    }
    const name = bytes.subarray(UNIX_PATH_OFFSET);
    // A path ends with a NUL unless it fills sun_path (unix(7), BUGS).
    const end = name[0] === 0 ? name.length : name.indexOf(0);
    // A byte order mark is part of the name: the decoder must not remove it.
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return decoder.decode(end === -1 ? name : name.subarray(0, end));
  }
}

if (isShared("SocketAddress", SocketAddress)) {
  // @ts-expect-error See `isShared`.
  SocketAddress = sharedClass("SocketAddress");
}

/** @throws TypeError if `value` is not a `SocketAddress`. */
export function checkAddress(name: string, value: unknown): asserts value is SocketAddress {
  if (!SocketAddress._isGenuine(value)) throw addressTypeError(name, "SocketAddress", value);
}

/** Returns the error for a value that is no address, with the function that makes one. */
export function addressTypeError(name: string, expected: string, value: unknown): TypeError {
  const { message } = typeError(name, expected, value);
  if (value === undefined) return argumentError(TypeError, message);
  return argumentError(TypeError, `${message} (${addressRemedy(value)})`);
}

function addressRemedy(value: unknown): string {
  if (typeof value === "number") return "as in sendTo(data, { address, port })";
  if (typeof value === "object" && value !== null && "hostname" in value) {
    return "the field is called address, and holds an IP address";
  }
  if (typeof value !== "string") return REMEDY;
  return value.includes("/") ? "SocketAddress.unix(path) for a path" : `${REMEDY}; ${HOST_NAMES}`;
}

const HOST_NAMES = "connect resolves host names";

/** Returns the error for a text that is no IP address. */
function ipError(text: string): TypeError {
  const { message } = typeError("address", "IP address", text);
  return argumentError(TypeError, /^[a-z]/i.test(text) ? `${message} (${HOST_NAMES})` : message);
}

function unixName(argument: string, text: string): Uint8Array {
  const name = new TextEncoder().encode(text);
  if (name.length === 0 || name.length > UNIX_PATH_BYTES_MAX) {
    throw rangeError(argument, `1..${UNIX_PATH_BYTES_MAX} bytes of UTF-8`, name.length);
  }
  return name;
}

/** An IP address as text, and a port. As in `rinfo` of `node:dgram`. */
export interface AddressAndPort {
  /** An IPv4 or IPv6 address, which may have a zone: `192.0.2.1`, `fe80::1%eth0`. No host name. */
  readonly address: string;
  /** 0..65535. */
  readonly port: number;
}

/** The destination of a datagram. */
export type Destination = SocketAddress | AddressAndPort;

/** The number of addresses to keep. */
const CACHED_MAX = 1024;

/** The addresses of recent objects by their text: parsing one takes 20 times as long as this. */
const cached = new Map<string, SocketAddress>();

/**
 * Returns the address of a destination: the same object for equal text, unless many others were used
 * since. Reads each property once.
 *
 * @throws TypeError if it is neither an address nor an object with an IP address.
 * @throws RangeError if the port is not an integer 0..65535.
 */
export function toAddress(name: string, value: unknown): SocketAddress {
  return SocketAddress._isGenuine(value) ? value : fromObject(name, value);
}

function fromObject(name: string, value: unknown): SocketAddress {
  if (typeof value !== "object" || value === null || !("address" in value && "port" in value)) {
    throw addressTypeError(name, "SocketAddress or { address, port }", value);
  }
  const { address, port } = value as AddressAndPort;
  if (isOtherVersion(value) && (value as { family?: unknown }).family === "unix") {
    return unixAddressOf(address);
  }
  const key = typeof address === "string" && typeof port === "number" ? `${address} ${port}` : "";
  const known = cached.get(key);
  if (known !== undefined) return known;
  const made = SocketAddress.ip(address, port);
  if (cached.size >= CACHED_MAX) cached.clear();
  cached.set(key, made);
  return made;
}

/** Returns whether `value` is an address of another version of the library. */
export function isOtherVersion(value: unknown): value is Destination {
  if (typeof value !== "object" || value === null) return false;
  const type: unknown = value.constructor;
  if (typeof type !== "function" || otherVersionOf(type) === undefined) return false;
  return "address" in value && "port" in value && "family" in value;
}

/** Returns the Unix address whose `address` is `name`. */
function unixAddressOf(name: string): SocketAddress {
  return name.startsWith("\0") ? SocketAddress.abstract(name.slice(1)) : SocketAddress.unix(name);
}

/** Parses the text after `unix:`. */
function parseUnix(text: string): SocketAddress {
  const name = text.replace(/\\(?:\\|x([0-9a-f]{2}))/g, (_, hex: string | undefined) =>
    hex === undefined ? "\\" : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (text.startsWith("@")) return SocketAddress.abstract(name.slice(1));
  return SocketAddress.unix(text.startsWith("./@") ? name.slice(2) : name);
}

/** Replaces control characters, which would act on a terminal. */
function escapeControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to replace.
  return text.replace(/[\0-\x1f\x7f-\x9f\\]/g, (char) =>
    char === "\\" ? "\\\\" : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
