/**
 * What a connection tells about itself: figures of the transport at any time, and what a QUIC
 * connection leaves for the audit log when it ends. They are records that a transport fills in;
 * a socket's own counters are not among them.
 */

import { checkWideInteger } from "../support/bytes.ts";
import { checkBytes, checkInteger, rangeError, typeError } from "../support/check.ts";

/** Why a congestion controller left its start-up phase. */
export const StartupExitReason: {
  /** Too much was lost. */
  readonly Loss: "loss";
  /** The bandwidth stopped growing (BBR). */
  readonly BandwidthPlateau: "bandwidth-plateau";
  /** A queue stayed that would not drain (BBR). */
  readonly PersistentQueue: "persistent-queue";
  /** The rounds of conservative slow start were over (HyStart++, RFC 9406). */
  readonly ConservativeSlowStartRounds: "conservative-slow-start-rounds";
} = {
  Loss: "loss",
  BandwidthPlateau: "bandwidth-plateau",
  PersistentQueue: "persistent-queue",
  ConservativeSlowStartRounds: "conservative-slow-start-rounds",
};

/** One of the values of the constant of this name. */
export type StartupExitReason = (typeof StartupExitReason)[keyof typeof StartupExitReason];

/** The state in which a congestion controller left its start-up phase. */
export interface StartupExit {
  /** The congestion window, in bytes. */
  cwnd: number;
  /** The bandwidth estimate, in bytes per second; absent when the controller makes none. */
  bandwidth?: number | undefined;
  /** Why it left. */
  reason: StartupExitReason;
}

/** Figures of a connection, counted since it began unless the field says otherwise. */
export interface SocketStats {
  /** The path's maximum transmission unit now, in bytes. */
  pmtu: number;
  /** The round-trip time, smoothed, in microseconds. */
  rttUs: number;
  /** The least round-trip time seen, in microseconds. */
  minRttUs: number;
  /** The greatest round-trip time seen, in microseconds. */
  maxRttUs: number;
  /** How much the round-trip time varies, in microseconds. */
  rttVarUs: number;
  /** The congestion window now, in bytes. */
  cwnd: number;
  /** How often the probe timeout fired (RFC 9002, section 6.2). */
  totalPtoCount: number;
  /** Packets sent. */
  packetsSent: number;
  /** Packets received. */
  packetsRecvd: number;
  /** Packets declared lost. */
  packetsLost: number;
  /** Packets declared lost and acknowledged later. */
  packetsLostSpurious: number;
  /** Packets that carried retransmitted data. */
  packetsRetrans: number;
  /** Bytes sent. */
  bytesSent: number;
  /** Bytes received. */
  bytesRecvd: number;
  /** Bytes in the packets declared lost. */
  bytesLost: number;
  /** Bytes of data sent again. */
  bytesRetrans: number;
  /** Bytes that the application handed over and that are not sent, now. */
  bytesUnsent: number;
  /** The estimated rate of delivery now, in bytes per second. */
  deliveryRate: number;
  /** The greatest bandwidth estimate, in bytes per second; absent when none was made. */
  maxBandwidth?: number | undefined;
  /** How start-up ended; absent until it does. */
  startupExit?: StartupExit | undefined;
  /** For how long there were bytes in flight, in microseconds. */
  bytesInFlightDurationUs: number;
}

/** Figures of a connection on which nothing has happened: all zero, the optional ones absent. */
export function emptySocketStats(): SocketStats {
  return {
    pmtu: 0,
    rttUs: 0,
    minRttUs: 0,
    maxRttUs: 0,
    rttVarUs: 0,
    cwnd: 0,
    totalPtoCount: 0,
    packetsSent: 0,
    packetsRecvd: 0,
    packetsLost: 0,
    packetsLostSpurious: 0,
    packetsRetrans: 0,
    bytesSent: 0,
    bytesRecvd: 0,
    bytesLost: 0,
    bytesRetrans: 0,
    bytesUnsent: 0,
    deliveryRate: 0,
    maxBandwidth: undefined,
    startupExit: undefined,
    bytesInFlightDurationUs: 0,
  };
}

/** What can tell the figures of its connection. */
export interface AsSocketStats {
  /** The figures now; the record is the caller's. */
  asSocketStats(): SocketStats;
  /** The audit record of the QUIC connection; absent, or `undefined`, for all that is not QUIC. */
  asQuicStats?(): QuicAuditStats | undefined;
}

/** How a stream was closed. */
export const StreamClosureKind: {
  /** It was not. */
  readonly None: "none";
  /** By what happened to the connection. */
  readonly Implicit: "implicit";
  /** By a frame of its own. */
  readonly Explicit: "explicit";
} = { None: "none", Implicit: "implicit", Explicit: "explicit" };

/** One of the values of the constant of this name. */
export type StreamClosureKind = (typeof StreamClosureKind)[keyof typeof StreamClosureKind];

/** An error code of QUIC is a varint (RFC 9000, section 20): up to 2^62-1. */
const ERROR_CODE_MAX = 0x3fff_ffff_ffff_ffffn;

/** A `SO_MARK` is 32 bits (socket(7)). */
const SO_MARK_BYTES = 4;

/** Checks an error code, or the -1 of one not set; a `bigint` that is safe becomes a `number`. */
function checkErrorCode(value: number | bigint): number | bigint {
  checkWideInteger("errorCode", value, -1, ERROR_CODE_MAX);
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/**
 * What one QUIC connection leaves for the audit log.
 *
 * Error codes and durations are -1 until they are set. A code is a `number` when it is a safe
 * integer and a `bigint` above, up to 2^62-1, so it is always exact; setting any other value is a
 * `RangeError`, and what was there stays.
 */
export class QuicAuditStats {
  readonly #quicConnectionId: Uint8Array;
  #recvdConnCloseTransportErrorCode: number | bigint = -1;
  #recvdConnCloseApplicationErrorCode: number | bigint = -1;
  #sentConnCloseTransportErrorCode: number | bigint = -1;
  #sentConnCloseApplicationErrorCode: number | bigint = -1;
  #transportHandshakeDurationUs = -1;
  #transportHandshakeStart: Date | undefined = undefined;
  #connectionCloseReason: Error | undefined = undefined;
  #maxBandwidth = 0;
  #maxLossPct = 0;
  #initialSoMark: Uint8Array | undefined = undefined;

  /**
   * @param quicConnectionId the bytes of the connection's ID; they are copied.
   * @throws {TypeError} when it is no `Uint8Array`.
   */
  constructor(quicConnectionId: Uint8Array) {
    checkBytes("quicConnectionId", quicConnectionId);
    this.#quicConnectionId = new Uint8Array(quicConnectionId);
  }

  /** The bytes of the connection's ID, as they were given; a copy. */
  get quicConnectionId(): Uint8Array {
    return new Uint8Array(this.#quicConnectionId);
  }

  /** The code of the CONNECTION_CLOSE frame of type 0x1c that the peer sent; -1 when none. */
  get recvdConnCloseTransportErrorCode(): number | bigint {
    return this.#recvdConnCloseTransportErrorCode;
  }
  set recvdConnCloseTransportErrorCode(value: number | bigint) {
    this.#recvdConnCloseTransportErrorCode = checkErrorCode(value);
  }

  /** The code of the CONNECTION_CLOSE frame of type 0x1d that the peer sent; -1 when none. */
  get recvdConnCloseApplicationErrorCode(): number | bigint {
    return this.#recvdConnCloseApplicationErrorCode;
  }
  set recvdConnCloseApplicationErrorCode(value: number | bigint) {
    this.#recvdConnCloseApplicationErrorCode = checkErrorCode(value);
  }

  /** The code of the CONNECTION_CLOSE frame of type 0x1c that was sent; -1 when none. */
  get sentConnCloseTransportErrorCode(): number | bigint {
    return this.#sentConnCloseTransportErrorCode;
  }
  set sentConnCloseTransportErrorCode(value: number | bigint) {
    this.#sentConnCloseTransportErrorCode = checkErrorCode(value);
  }

  /** The code of the CONNECTION_CLOSE frame of type 0x1d that was sent; -1 when none. */
  get sentConnCloseApplicationErrorCode(): number | bigint {
    return this.#sentConnCloseApplicationErrorCode;
  }
  set sentConnCloseApplicationErrorCode(value: number | bigint) {
    this.#sentConnCloseApplicationErrorCode = checkErrorCode(value);
  }

  /** How long the handshake took, in microseconds; -1 until set. */
  get transportHandshakeDurationUs(): number {
    return this.#transportHandshakeDurationUs;
  }
  set transportHandshakeDurationUs(value: number) {
    checkInteger("transportHandshakeDurationUs", value, -1, Number.MAX_SAFE_INTEGER);
    this.#transportHandshakeDurationUs = value;
  }

  /**
   * When the handshake began, by the wall clock; absent until set. The date is copied both ways.
   *
   * Setting anything but a `Date` or `undefined` is a `TypeError`, an invalid date a `RangeError`.
   */
  get transportHandshakeStart(): Date | undefined {
    const start = this.#transportHandshakeStart;
    return start === undefined ? undefined : new Date(start);
  }
  set transportHandshakeStart(value: Date | undefined) {
    if (value !== undefined && !(value instanceof Date)) {
      throw typeError("transportHandshakeStart", "Date or undefined", value);
    }
    if (value !== undefined && Number.isNaN(value.getTime())) {
      throw rangeError("transportHandshakeStart", "a valid Date", "Invalid Date");
    }
    this.#transportHandshakeStart = value === undefined ? undefined : new Date(value);
  }

  /** Why the connection was closed; absent until set. Anything but an `Error` is a `TypeError`. */
  get connectionCloseReason(): Error | undefined {
    return this.#connectionCloseReason;
  }
  set connectionCloseReason(value: Error | undefined) {
    if (value !== undefined && !(value instanceof Error)) {
      throw typeError("connectionCloseReason", "Error or undefined", value);
    }
    this.#connectionCloseReason = value;
  }

  /** The greatest bandwidth estimate, in bytes per second; 0 until set. */
  get maxBandwidth(): number {
    return this.#maxBandwidth;
  }
  set maxBandwidth(value: number) {
    checkInteger("maxBandwidth", value, 0, Number.MAX_SAFE_INTEGER);
    this.#maxBandwidth = value;
  }

  /** The greatest loss, in percent; 0 until set, 255 at most: what one byte of a log holds. */
  get maxLossPct(): number {
    return this.#maxLossPct;
  }
  set maxLossPct(value: number) {
    checkInteger("maxLossPct", value, 0, 255);
    this.#maxLossPct = value;
  }

  /**
   * The four bytes of the `SO_MARK` that the connection's first packet came with; absent until set.
   *
   * The first value stays: setting another one later does nothing, nor does setting `undefined`.
   * The bytes are copied both ways. Anything but a `Uint8Array` or `undefined` is a `TypeError`,
   * any other length than 4 a `RangeError`.
   */
  get initialSoMark(): Uint8Array | undefined {
    const mark = this.#initialSoMark;
    return mark === undefined ? undefined : new Uint8Array(mark);
  }
  set initialSoMark(value: Uint8Array | undefined) {
    if (value === undefined) return;
    checkBytes("initialSoMark", value);
    if (value.length !== SO_MARK_BYTES) {
      throw rangeError("initialSoMark", `${SO_MARK_BYTES} bytes`, value.length);
    }
    this.#initialSoMark ??= new Uint8Array(value);
  }
}
