/** Tests of the statistics records: initial values, accepted and rejected values. */

import { expect, test } from "bun:test";
import {
  type AsSocketStats,
  emptySocketStats,
  QuicAuditStats,
  StartupExitReason,
  StreamClosureKind,
} from "../../lib/traits/stats.ts";
import { numberErrorOf } from "../tools/errors.ts";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;
const CODE_MAX = 2n ** 62n - 1n;
const CODES = [
  "recvdConnCloseTransportErrorCode",
  "recvdConnCloseApplicationErrorCode",
  "sentConnCloseTransportErrorCode",
  "sentConnCloseApplicationErrorCode",
] as const;

/** Sets a property to a value of any type. */
function set(stats: QuicAuditStats, name: keyof QuicAuditStats, value: unknown): void {
  (stats as unknown as Record<string, unknown>)[name] = value;
}

/** Expects that setting a property to each value throws `error` and does not change it. */
function expectRejected(
  name: keyof QuicAuditStats,
  values: readonly unknown[],
  error: ErrorConstructor,
): void {
  const stats = new QuicAuditStats(new Uint8Array(0));
  const before = stats[name];
  for (const value of values) {
    const isNumber = typeof value !== "object" || value === null;
    const expected = error === RangeError && isNumber ? numberErrorOf(value, true) : error;
    expect(() => set(stats, name, value)).toThrow(expected);
    expect(stats[name]).toBe(before);
  }
}

test("emptySocketStats returns a new record of 21 fields, which are 0 or undefined", () => {
  const stats = emptySocketStats();
  const { maxBandwidth, startupExit, ...counts } = stats;
  expect([maxBandwidth, startupExit]).toEqual([undefined, undefined]);
  expect(Object.keys(stats).length).toBe(21);
  expect(Object.keys(counts).sort()).toEqual(
    [
      ...["pmtu", "rttUs", "minRttUs", "maxRttUs", "rttVarUs", "cwnd", "totalPtoCount"],
      ...["packetsSent", "packetsRecvd", "packetsLost", "packetsLostSpurious", "packetsRetrans"],
      ...["bytesSent", "bytesRecvd", "bytesLost", "bytesRetrans", "bytesUnsent", "deliveryRate"],
      "bytesInFlightDurationUs",
    ].sort(),
  );
  expect(Object.values(counts)).toEqual(new Array(19).fill(0));
  stats.startupExit = { cwnd: 1, reason: StartupExitReason.Loss };
  expect(emptySocketStats().startupExit).toBeUndefined();
});

test("StreamClosureKind and StartupExitReason have distinct values", () => {
  expect(Object.keys(StreamClosureKind)).toEqual(["None", "Implicit", "Explicit"]);
  expect(Object.keys(StartupExitReason)).toEqual([
    "Loss",
    "BandwidthPlateau",
    "PersistentQueue",
    "ConservativeSlowStartRounds",
  ]);
  expect(new Set(Object.values(StreamClosureKind)).size).toBe(3);
  expect(new Set(Object.values(StartupExitReason)).size).toBe(4);
});

test("AsSocketStats does not require asQuicStats", () => {
  const plain: AsSocketStats = { asSocketStats: emptySocketStats };
  expect(plain.asQuicStats?.()).toBeUndefined();
});

test("a new QuicAuditStats has codes and durations of -1, and other fields unset", () => {
  const stats = new QuicAuditStats(Uint8Array.of(1, 2));
  for (const name of CODES) expect(stats[name]).toBe(-1);
  expect(stats.transportHandshakeDurationUs).toBe(-1);
  expect(stats.transportHandshakeStart).toBeUndefined();
  expect(stats.connectionCloseReason).toBeUndefined();
  expect([stats.maxBandwidth, stats.maxLossPct]).toEqual([0, 0]);
  expect(stats.initialSoMark).toBeUndefined();
});

test("QuicAuditStats copies the connection ID when it is set and when it is read", () => {
  const memory = Uint8Array.of(9, 1, 2, 9);
  const stats = new QuicAuditStats(memory.subarray(1, 3));
  memory[1] = 7;
  stats.quicConnectionId[0] = 7;
  expect(stats.quicConnectionId).toEqual(Uint8Array.of(1, 2));
  expect(new QuicAuditStats(new Uint8Array(0)).quicConnectionId.length).toBe(0);
  for (const id of [undefined, null, "ab", [1]] as unknown[]) {
    expect(() => new QuicAuditStats(id as Uint8Array)).toThrow(TypeError);
  }
});

test("QuicAuditStats keeps each error code exactly, from 0 to 2^62-1", () => {
  const stats = new QuicAuditStats(new Uint8Array(0));
  const values = [0, SAFE_MAX, 2n ** 53n + 1n, CODE_MAX];
  for (let shift = 0; shift < CODES.length; shift++) {
    for (const [index, name] of CODES.entries()) set(stats, name, values[(index + shift) % 4]);
    for (const [index, name] of CODES.entries()) {
      expect(stats[name]).toBe(values[(index + shift) % 4] ?? -2);
    }
  }
  for (const name of CODES) {
    set(stats, name, 5n);
    expect(stats[name]).toBe(5);
    set(stats, name, -1);
    expect(stats[name]).toBe(-1);
    const invalid = [-2, -2n, 0.5, Number.NaN, SAFE_MAX + 1, CODE_MAX + 1n, "1", null, undefined];
    expectRejected(name, invalid, RangeError);
  }
});

test("QuicAuditStats accepts integers in range for durations, bandwidth and loss", () => {
  const stats = new QuicAuditStats(new Uint8Array(0));
  for (const value of [0, 1, SAFE_MAX]) {
    stats.transportHandshakeDurationUs = value;
    stats.maxBandwidth = value;
    expect([stats.transportHandshakeDurationUs, stats.maxBandwidth]).toEqual([value, value]);
  }
  for (const value of [0, 100, 255]) {
    stats.maxLossPct = value;
    expect(stats.maxLossPct).toBe(value);
  }
  const invalid = [0.5, Number.NaN, SAFE_MAX + 1, "1", null, undefined];
  expectRejected("transportHandshakeDurationUs", [-2, ...invalid], RangeError);
  expectRejected("maxBandwidth", [-1, ...invalid], RangeError);
  expectRejected("maxLossPct", [-1, 256, ...invalid], RangeError);
});

test("QuicAuditStats copies the handshake start, keeps the close reason, and can unset both", () => {
  const stats = new QuicAuditStats(new Uint8Array(0));
  const start = new Date(1_700_000_000_000);
  stats.transportHandshakeStart = start;
  start.setTime(0);
  stats.transportHandshakeStart?.setTime(0);
  expect(stats.transportHandshakeStart?.getTime()).toBe(1_700_000_000_000);
  stats.transportHandshakeStart = undefined;
  expect(stats.transportHandshakeStart).toBeUndefined();
  const reason = new TypeError("why");
  stats.connectionCloseReason = reason;
  expect(stats.connectionCloseReason).toBe(reason);
  stats.connectionCloseReason = undefined;
  expect(stats.connectionCloseReason).toBeUndefined();
  expectRejected("transportHandshakeStart", [0, "2020-01-01", null, {}], TypeError);
  expectRejected("transportHandshakeStart", [new Date(Number.NaN)], RangeError);
  expectRejected("connectionCloseReason", ["why", null, {}], TypeError);
});

test("QuicAuditStats keeps the first initialSoMark, even if another value is set later", () => {
  const stats = new QuicAuditStats(new Uint8Array(0));
  stats.initialSoMark = undefined;
  expect(stats.initialSoMark).toBeUndefined();
  const memory = Uint8Array.of(9, 1, 2, 3, 4, 9);
  stats.initialSoMark = memory.subarray(1, 5);
  memory.fill(7);
  stats.initialSoMark?.fill(7);
  set(stats, "initialSoMark", Uint8Array.of(5, 6, 7, 8));
  set(stats, "initialSoMark", undefined);
  expect(stats.initialSoMark?.toHex()).toBe("01020304");
  expectRejected("initialSoMark", [null, 1, "abcd", [1, 2, 3, 4], new Uint32Array(1)], TypeError);
  const lengths = [0, 3, 5].map((length) => new Uint8Array(length));
  expectRejected("initialSoMark", lengths, RangeError);
});
