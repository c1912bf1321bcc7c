/**
 * A tunnel as both ends see it: UDP payloads as HTTP Datagrams (RFC 9298, section 5), in DATAGRAM
 * frames if the peer accepts them, and otherwise in DATAGRAM capsules on the request stream.
 *
 * One tunnel never uses both. A payload that is too long for a DATAGRAM frame is dropped, and not
 * sent in a capsule instead: the search for the path MTU between the ends of the inner connection
 * depends on that loss (RFC 9298, section 6.1).
 */

import {
  CapsuleDecoder,
  CONNECT_UDP_PAYLOAD_MAX,
  capsuleHeader,
  connectUdpPayloadMax,
  DATAGRAM_CAPSULE,
  httpDatagramPrefix,
} from "../../lib/masque/index.ts";
import type { Counters } from "./counters.ts";
import { STREAM_BUFFER_BYTES, STREAM_ERROR } from "./http3.ts";
import type { QuicSession, QuicStream, StreamWriter } from "./node-quic.ts";

/** Capsules are collected up to that size, and then written at once. */
const CAPSULE_BUFFER_BYTES = 64 * 1024;
/** The type, the length and the context ID of a capsule. */
const CAPSULE_OVERHEAD_MAX = 16;

/** Shared by all tunnels: `node:quic` copies before `sendDatagram` and `writeSync` return. */
const frame = new Uint8Array(65_536 + CAPSULE_OVERHEAD_MAX);
const capsules = new Uint8Array(CAPSULE_BUFFER_BYTES + 65_536);

/** How HTTP Datagrams are sent. */
export type Carrier = "frames" | "capsules";

/** Options of a `Channel`. */
export interface ChannelOptions {
  readonly session: QuicSession;
  readonly stream: QuicStream;
  readonly carrier: Carrier;
  readonly counters: Counters;
  /** Receives a payload. The bytes are not changed or reused afterwards. */
  readonly onPayload: (bytes: Uint8Array, offset: number, length: number) => void;
  /** Called once, when the tunnel has ended: with an error code if the peer is at fault. */
  readonly onEnd: (fault?: bigint) => void;
}

/** A tunnel on a request stream that has been accepted. */
export class Channel {
  readonly carrier: Carrier;
  readonly #session: QuicSession;
  readonly #stream: QuicStream;
  readonly #writer: StreamWriter;
  readonly #counters: Counters;
  readonly #onPayload: ChannelOptions["onPayload"];
  readonly #onEnd: ChannelOptions["onEnd"];
  readonly #prefix: Uint8Array;
  /** The bytes and datagrams of the capsules that are collected. */
  #bytes = 0;
  #datagrams = 0;
  #isClosed = false;

  constructor(options: ChannelOptions) {
    const { session, stream, carrier, counters, onPayload, onEnd } = options;
    this.#session = session;
    this.#stream = stream;
    this.carrier = carrier;
    this.#counters = counters;
    this.#onPayload = onPayload;
    this.#onEnd = onEnd;
    this.#prefix = httpDatagramPrefix(stream.id ?? 0n);
    stream.highWaterMark = STREAM_BUFFER_BYTES;
    this.#writer = stream.writer;
    void this.#readCapsules();
  }

  /** The longest payload in bytes. */
  get payloadBytesMax(): number {
    if (this.carrier === "capsules") return CONNECT_UDP_PAYLOAD_MAX;
    return connectUdpPayloadMax(this.#session.maxDatagramSize, this.#stream.id ?? 0n);
  }

  /** Sends a payload, which is copied. Capsules are sent by `flush`. */
  send(bytes: Uint8Array, offset: number, length: number): void {
    const { drops, toTunnel } = this.#counters;
    if (this.#isClosed) {
      drops.closed++;
      return;
    }
    if (length > this.payloadBytesMax) {
      drops.oversize++;
      return;
    }
    toTunnel.datagrams++;
    toTunnel.bytes += length;
    const payload = bytes.subarray(offset, offset + length);
    if (this.carrier === "frames") this.#sendFrame(payload);
    else this.#addCapsule(payload);
  }

  /** Writes the capsules that are collected. To be called before another tunnel sends. */
  flush(): void {
    if (this.#bytes === 0) return;
    const isWritten = !this.#isClosed && this.#writer.writeSync(capsules.subarray(0, this.#bytes));
    if (!isWritten) this.#counters.drops[this.#isClosed ? "closed" : "blocked"] += this.#datagrams;
    this.#bytes = this.#datagrams = 0;
  }

  /** Receives the HTTP Datagram of a frame, without its stream ID. */
  receive(bytes: Uint8Array, contextId: number | bigint, payloadOffset: number): void {
    if (contextId !== 0) {
      this.#counters.drops.unknownContext++;
      return;
    }
    this.#onPayload(bytes, payloadOffset, bytes.length - payloadOffset);
  }

  /** Ends both directions of the stream: without a code, after what was written. */
  close(code?: bigint): void {
    if (this.#isClosed) return;
    this.flush();
    this.#isClosed = true;
    if (this.#stream.destroyed) return;
    if (code === undefined) this.#writer.endSync();
    else this.#stream.resetStream(code);
    this.#stream.stopSending(code ?? STREAM_ERROR.none);
  }

  #sendFrame(payload: Uint8Array): void {
    frame.set(this.#prefix);
    frame.set(payload, this.#prefix.length);
    const length = this.#prefix.length + payload.length;
    const { drops } = this.#counters;
    this.#session.sendDatagram(frame.subarray(0, length)).then(
      (id) => {
        if (id === 0n) drops.queueFull++;
      },
      () => {
        drops.closed++;
      },
    );
  }

  #addCapsule(payload: Uint8Array): void {
    const header = capsuleHeader(DATAGRAM_CAPSULE, payload.length + 1);
    capsules.set(header, this.#bytes);
    this.#bytes += header.length;
    capsules[this.#bytes++] = 0; // the context ID
    capsules.set(payload, this.#bytes);
    this.#bytes += payload.length;
    this.#datagrams++;
    if (this.#bytes >= CAPSULE_BUFFER_BYTES) this.flush();
  }

  /** Reads the stream until it ends. Peers may send capsules even if they also send frames. */
  async #readCapsules(): Promise<void> {
    let chunk: Uint8Array = new Uint8Array(0);
    const decoder = new CapsuleDecoder((_, value) => {
      // A value in one piece is part of the chunk. Others are in memory that the decoder reuses.
      this.#receiveCapsule(value.buffer === chunk.buffer ? value : value.slice());
    });
    let fault: bigint | undefined;
    try {
      for await (const chunks of this.#stream) {
        for (chunk of chunks) fault ??= this.#decode(decoder, chunk);
        if (fault !== undefined || this.#isClosed) break;
      }
      if (fault === undefined && !this.#isClosed) decoder.end();
    } catch (error) {
      // The peer has reset the stream, or ended it within a capsule.
      if ((error as { code?: string }).code === "ERR_CAPSULE_INCOMPLETE") {
        fault = STREAM_ERROR.datagram;
      }
    }
    if (this.#isClosed) return;
    if (fault !== undefined) this.#counters.drops.malformed++;
    this.#onEnd(fault);
  }

  #decode(decoder: CapsuleDecoder, chunk: Uint8Array): bigint | undefined {
    try {
      decoder.push(chunk);
      return undefined;
    } catch {
      return STREAM_ERROR.datagram;
    }
  }

  /** Receives the value of a capsule: a context ID and a payload. */
  #receiveCapsule(value: Uint8Array): void {
    if (this.#isClosed) return;
    const first = value[0];
    const idBytes = first === undefined ? 1 : 1 << (first >> 6);
    if (value.length < idBytes || value.length - idBytes > CONNECT_UDP_PAYLOAD_MAX) {
      throw new RangeError("malformed HTTP Datagram");
    }
    let contextId = BigInt((first as number) & 0x3f);
    for (const byte of value.subarray(1, idBytes)) contextId = (contextId << 8n) | BigInt(byte);
    this.receive(value, contextId === 0n ? 0 : contextId, idBytes);
  }
}
