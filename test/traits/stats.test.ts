/** The stats records: what they start with, what they keep, what they refuse. */

import { expect, test } from "bun:test";
import {
  type AsSocketStats,
  emptySocketStats,
  QuicAuditStats,
  StartupExitReason,
  StreamClosureKind,
} from "../../lib/traits/stats.ts";

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

/** Expects a property to refuse each value and to keep what it has. */
function expectRefused(
  name: keyof QuicAuditStats,
  values: readonly unknown[],
  error: ErrorConstructor,
): void {
  const stats = new QuicAuditStats(new Uint8Array(0));
  const before = stats[name];
  for (const value of values) {
    expect(() => set(stats, name, value)).toThrow(error);
    expect(stats[name]).toBe(before);
  }
}

test("empty socket stats have all 21 fields, zero or absent, in a record of their own", () => {
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

test("the kinds and reasons are distinct", () => {
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

test("what has socket stats need not have QUIC stats", () => {
  const plain: AsSocketStats = { asSocketStats: emptySocketStats };
  expect(plain.asQuicStats?.()).toBeUndefined();
});

test("an audit record starts with codes and durations at -1 and nothing else set", () => {
  const stats = new QuicAuditStats(Uint8Array.of(1, 2));
  for (const name of CODES) expect(stats[name]).toBe(-1);
  expect(stats.transportHandshakeDurationUs).toBe(-1);
  expect(stats.transportHandshakeStart).toBeUndefined();
  expect(stats.connectionCloseReason).toBeUndefined();
  expect([stats.maxBandwidth, stats.maxLossPct]).toEqual([0, 0]);
  expect(stats.initialSoMark).toBeUndefined();
});

test("the connection's ID is copied, in and out, from a view with an offset too", () => {
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

test("each code is kept apart and exact, from 0 to 2^62-1", () => {
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
    const bad = [-2, -2n, 0.5, Number.NaN, SAFE_MAX + 1, CODE_MAX + 1n, "1", null, undefined];
    expectRefused(name, bad, RangeError);
  }
});

test("durations, bandwidth and loss are integers of their range", () => {
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
  const bad = [0.5, Number.NaN, SAFE_MAX + 1, "1", null, undefined];
  expectRefused("transportHandshakeDurationUs", [-2, ...bad], RangeError);
  expectRefused("maxBandwidth", [-1, ...bad], RangeError);
  expectRefused("maxLossPct", [-1, 256, ...bad], RangeError);
});

test("the handshake's start is a copied date, the reason an error; both can be unset", () => {
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
  expectRefused("transportHandshakeStart", [0, "2020-01-01", null, {}], TypeError);
  expectRefused("transportHandshakeStart", [new Date(Number.NaN)], RangeError);
  expectRefused("connectionCloseReason", ["why", null, {}], TypeError);
});

test("the first initial SO_MARK stays, whatever is set before or after", () => {
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
  expectRefused("initialSoMark", [null, 1, "abcd", [1, 2, 3, 4], new Uint32Array(1)], TypeError);
  const lengths = [0, 3, 5].map((length) => new Uint8Array(length));
  expectRefused("initialSoMark", lengths, RangeError);
});
