/**
 * Records that a transport fills in: statistics of a connection, and the audit record of a QUIC
 * connection. The counters of a socket are in datagram/counters.ts.
 */

import { checkWideInteger } from "../support/bytes.ts";
import {
  checkBytes,
  checkInteger,
  inspectAs,
  rangeError,
  showState,
  typeError,
} from "../support/check.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** The reasons for which a congestion controller leaves its start-up phase. */
export const StartupExitReason: {
  /** Excessive packet loss. */
  readonly Loss: "loss";
  /** The bandwidth estimate no longer grew (BBR). */
  readonly BandwidthPlateau: "bandwidth-plateau";
  /** A queue in the path did not drain (BBR). */
  readonly PersistentQueue: "persistent-queue";
  /** All rounds of Conservative Slow Start were completed (HyStart++, RFC 9406). */
  readonly ConservativeSlowStartRounds: "conservative-slow-start-rounds";
} = {
  Loss: "loss",
  BandwidthPlateau: "bandwidth-plateau",
  PersistentQueue: "persistent-queue",
  ConservativeSlowStartRounds: "conservative-slow-start-rounds",
};

/** A value of the constant `StartupExitReason`. */
export type StartupExitReason = (typeof StartupExitReason)[keyof typeof StartupExitReason];

/** The state of a congestion controller when it left its start-up phase. */
export interface StartupExit {
  /** The congestion window, in bytes. */
  cwnd: number;
  /** The bandwidth estimate, in bytes per second; absent if the controller has none. */
  bandwidth?: number | undefined;
  /** The reason for leaving it. */
  reason: StartupExitReason;
}

/** Statistics of a connection. Counts begin with the connection. */
export interface SocketStats {
  /** The current path MTU, in bytes. */
  pmtu: number;
  /** The smoothed round-trip time, in microseconds. */
  rttUs: number;
  /** The minimum round-trip time, in microseconds. */
  minRttUs: number;
  /** The maximum round-trip time, in microseconds. */
  maxRttUs: number;
  /** The variation of the round-trip time, in microseconds. */
  rttVarUs: number;
  /** The current congestion window, in bytes. */
  cwnd: number;
  /** The number of expired probe timeouts (RFC 9002, section 6.2). */
  totalPtoCount: number;
  /** The number of packets sent. */
  packetsSent: number;
  /** The number of packets received. */
  packetsRecvd: number;
  /** The number of packets declared lost. */
  packetsLost: number;
  /** The number of packets declared lost and acknowledged later. */
  packetsLostSpurious: number;
  /** The number of packets with retransmitted data. */
  packetsRetrans: number;
  /** The number of bytes sent. */
  bytesSent: number;
  /** The number of bytes received. */
  bytesRecvd: number;
  /** The number of bytes in packets declared lost. */
  bytesLost: number;
  /** The number of bytes of retransmitted data. */
  bytesRetrans: number;
  /** The current number of bytes that the application has written and that are not yet sent. */
  bytesUnsent: number;
  /** The current estimate of the delivery rate, in bytes per second. */
  deliveryRate: number;
  /** The maximum bandwidth estimate, in bytes per second; absent if there is none. */
  maxBandwidth?: number | undefined;
  /** The state at the end of the start-up phase; absent before that. */
  startupExit?: StartupExit | undefined;
  /** The total time with bytes in flight, in microseconds. */
  bytesInFlightDurationUs: number;
}

/** Returns a new record with all numbers 0 and the optional fields `undefined`. */
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

/** An object that reports the statistics of its connection. */
export interface AsSocketStats {
  /** Returns the current statistics in a new record. */
  asSocketStats(): SocketStats;
  /**
   * Returns the audit record of a QUIC connection. For other transports, the method is absent or
   * returns `undefined`.
   */
  asQuicStats?(): QuicAuditStats | undefined;
}

/** The ways in which a stream is closed. */
export const StreamClosureKind: {
  /** Not closed. */
  readonly None: "none";
  /** Closed together with the connection. */
  readonly Implicit: "implicit";
  /** Closed by a frame for this stream. */
  readonly Explicit: "explicit";
} = { None: "none", Implicit: "implicit", Explicit: "explicit" };

/** A value of the constant `StreamClosureKind`. */
export type StreamClosureKind = (typeof StreamClosureKind)[keyof typeof StreamClosureKind];

/** The largest QUIC error code, a 62-bit integer (RFC 9000, section 20): 2^62-1. */
const ERROR_CODE_MAX = 0x3fff_ffff_ffff_ffffn;

/** The size of a `SO_MARK` value: 32 bits (socket(7)). */
const SO_MARK_BYTES = 4;

/**
 * Checks an error code, which is -1 if not set. Returns a `number` if it is a safe integer, and a
 * `bigint` otherwise.
 *
 * @throws RangeError for all other values.
 */
function checkErrorCode(value: number | bigint): number | bigint {
  checkWideInteger("errorCode", value, -1, ERROR_CODE_MAX);
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/**
 * The audit record of a QUIC connection.
 *
 * Error codes and durations are -1 until they are set. An error code is a `number` if it is a safe
 * integer, and a `bigint` otherwise, up to 2^62-1. Setting a property to an invalid number throws a
 * `RangeError` and keeps the previous value.
 */
export class QuicAuditStats {
  static {
    inspectAs(QuicAuditStats.prototype, (stats) => showState("QuicAuditStats", stats.toJSON()));
  }

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
   * Creates a record in which only the connection ID is set.
   *
   * @param quicConnectionId the bytes of the connection ID, which are copied.
   * @throws TypeError if `quicConnectionId` is not a `Uint8Array`.
   */
  constructor(quicConnectionId: Uint8Array) {
    checkBytes("quicConnectionId", quicConnectionId);
    this.#quicConnectionId = new Uint8Array(quicConnectionId);
  }

  /**
   * Returns what `JSON.stringify` prints: bytes in hexadecimal, a `bigint` as text, the message of the
   * reason. What is not set is absent.
   */
  toJSON(): Record<string, string | number> {
    const fields = Object.entries({
      quicConnectionId: this.#quicConnectionId.toHex(),
      recvdConnCloseTransportErrorCode: this.#recvdConnCloseTransportErrorCode,
      recvdConnCloseApplicationErrorCode: this.#recvdConnCloseApplicationErrorCode,
      sentConnCloseTransportErrorCode: this.#sentConnCloseTransportErrorCode,
      sentConnCloseApplicationErrorCode: this.#sentConnCloseApplicationErrorCode,
      transportHandshakeDurationUs: this.#transportHandshakeDurationUs,
      transportHandshakeStart: this.#transportHandshakeStart?.toISOString(),
      connectionCloseReason: this.#connectionCloseReason?.message,
      maxBandwidth: this.#maxBandwidth,
      maxLossPct: this.#maxLossPct,
      initialSoMark: this.#initialSoMark?.toHex(),
    }).map(([name, value]) => [name, typeof value === "bigint" ? String(value) : value]);
    return Object.fromEntries(fields.filter(([, value]) => value !== undefined && value !== -1));
  }

  /** A copy of the connection ID. */
  get quicConnectionId(): Uint8Array {
    return new Uint8Array(this.#quicConnectionId);
  }

  /** The error code of the received CONNECTION_CLOSE frame of type 0x1c; -1 if there is none. */
  get recvdConnCloseTransportErrorCode(): number | bigint {
    return this.#recvdConnCloseTransportErrorCode;
  }
  set recvdConnCloseTransportErrorCode(value: number | bigint) {
    this.#recvdConnCloseTransportErrorCode = checkErrorCode(value);
  }

  /** The error code of the received CONNECTION_CLOSE frame of type 0x1d; -1 if there is none. */
  get recvdConnCloseApplicationErrorCode(): number | bigint {
    return this.#recvdConnCloseApplicationErrorCode;
  }
  set recvdConnCloseApplicationErrorCode(value: number | bigint) {
    this.#recvdConnCloseApplicationErrorCode = checkErrorCode(value);
  }

  /** The error code of the sent CONNECTION_CLOSE frame of type 0x1c; -1 if there is none. */
  get sentConnCloseTransportErrorCode(): number | bigint {
    return this.#sentConnCloseTransportErrorCode;
  }
  set sentConnCloseTransportErrorCode(value: number | bigint) {
    this.#sentConnCloseTransportErrorCode = checkErrorCode(value);
  }

  /** The error code of the sent CONNECTION_CLOSE frame of type 0x1d; -1 if there is none. */
  get sentConnCloseApplicationErrorCode(): number | bigint {
    return this.#sentConnCloseApplicationErrorCode;
  }
  set sentConnCloseApplicationErrorCode(value: number | bigint) {
    this.#sentConnCloseApplicationErrorCode = checkErrorCode(value);
  }

  /** The duration of the handshake, in microseconds, 0..2^53-1; -1 until set. */
  get transportHandshakeDurationUs(): number {
    return this.#transportHandshakeDurationUs;
  }
  set transportHandshakeDurationUs(value: number) {
    checkInteger("transportHandshakeDurationUs", value, -1, Number.MAX_SAFE_INTEGER);
    this.#transportHandshakeDurationUs = value;
  }

  /**
   * The wall-clock time at which the handshake started; `undefined` until set. The date is copied
   * when it is set and when it is read.
   *
   * @throws TypeError when set to a value other than a `Date` or `undefined`.
   * @throws RangeError when set to an invalid date.
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

  /**
   * The reason why the connection was closed; `undefined` until set.
   *
   * @throws TypeError when set to a value other than an `Error` or `undefined`.
   */
  get connectionCloseReason(): Error | undefined {
    return this.#connectionCloseReason;
  }
  set connectionCloseReason(value: Error | undefined) {
    if (value !== undefined && !(value instanceof Error)) {
      throw typeError("connectionCloseReason", "Error or undefined", value);
    }
    this.#connectionCloseReason = value;
  }

  /** The maximum bandwidth estimate, in bytes per second, 0..2^53-1; 0 until set. */
  get maxBandwidth(): number {
    return this.#maxBandwidth;
  }
  set maxBandwidth(value: number) {
    checkInteger("maxBandwidth", value, 0, Number.MAX_SAFE_INTEGER);
    this.#maxBandwidth = value;
  }

  /** The maximum packet loss, in percent, 0..255 (one byte in the log); 0 until set. */
  get maxLossPct(): number {
    return this.#maxLossPct;
  }
  set maxLossPct(value: number) {
    checkInteger("maxLossPct", value, 0, 255);
    this.#maxLossPct = value;
  }

  /**
   * The `SO_MARK` of the first packet of the connection, 4 bytes; `undefined` until set. The bytes
   * are copied when they are set and when they are read.
   *
   * The first value is kept: setting another value later, or `undefined`, has no effect.
   *
   * @throws TypeError when set to a value other than a `Uint8Array` or `undefined`.
   * @throws RangeError when set to bytes of a length other than 4.
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

if (isShared("QuicAuditStats", QuicAuditStats)) {
  // @ts-expect-error See `isShared`.
  QuicAuditStats = sharedClass("QuicAuditStats");
}
