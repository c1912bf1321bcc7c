/**
 * Control messages (cmsg(3)): what goes with a datagram beside its bytes and address. The one
 * place that knows how they are laid out.
 *
 * Each is a header (length, level, type) and its data, and the next begins at a multiple of 8
 * bytes. Offsets are in words of 32 bits, as vectors have them.
 */

/** `struct cmsghdr`: an 8-byte length, which counts the header, then level and type. */
const HEADER_BYTES = 16;
const LEVEL_WORD = 2;
const TYPE_WORD = 3;
const DATA_WORD = 4;

/** <linux/udp.h>. */
const IPPROTO_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

/** Room for what a received datagram can have. */
export const RECV_CONTROL_CAPACITY = 64;
/** Room for what a datagram to send can have. */
export const SEND_CONTROL_CAPACITY = 64;

/** Writes control messages, one behind the other, into the room a vector has for them. */
export class ControlWriter {
  #words: Int32Array = new Int32Array(0);
  #start = 0;
  #end = 0;

  /** Starts anew at word `index` of `words`, where there is room for `SEND_CONTROL_CAPACITY`. */
  begin(words: Int32Array, index: number): this {
    this.#words = words;
    this.#start = this.#end = index;
    return this;
  }

  /** Bytes written since `begin`: what `msg_controllen` must say. */
  get byteLength(): number {
    return (this.#end - this.#start) * 4;
  }

  /** Has the kernel cut the payload into datagrams of `bytes` (udp(7), UDP_SEGMENT: a u16). */
  segmentBytes(bytes: number): this {
    return this.#word(IPPROTO_UDP, UDP_SEGMENT, 2, bytes);
  }

  /** A message with data of up to four bytes, which take eight. */
  #word(level: number, type: number, dataBytes: number, value: number): this {
    const words = this.#words;
    const at = this.#end;
    words[at] = HEADER_BYTES + dataBytes;
    words[at + 1] = 0;
    words[at + LEVEL_WORD] = level;
    words[at + TYPE_WORD] = type;
    words[at + DATA_WORD] = value;
    words[at + DATA_WORD + 1] = 0;
    this.#end = at + DATA_WORD + 2;
    return this;
  }
}

/**
 * The stride in the `bytes` of control messages from word `index` on (udp(7), UDP_GRO: an int);
 * 0 when there is none: the message is one datagram.
 */
export function segmentBytesOf(words: Int32Array, index: number, bytes: number): number {
  const end = index + (bytes >> 2);
  let at = index;
  while (at + DATA_WORD <= end) {
    const length = words[at] as number;
    const next = at + (((length + 7) & ~7) >> 2);
    if (length < HEADER_BYTES || at + (length >> 2) > end) return 0;
    const isStride = words[at + LEVEL_WORD] === IPPROTO_UDP && words[at + TYPE_WORD] === UDP_GRO;
    if (isStride && length >= HEADER_BYTES + 4) return words[at + DATA_WORD] as number;
    at = next;
  }
  return 0;
}
