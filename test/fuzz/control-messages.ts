/** Control messages: arbitrary bytes, and what the writer writes. */

import fc from "fast-check";
import { SocketAddress } from "../../lib/address/socket-address.ts";
import { RecvMeta } from "../../lib/datagram/recv-meta.ts";
import { type SendMeta, SendMetaCopy } from "../../lib/datagram/send-meta.ts";
import { CmsgReader, CmsgWriter, SEND_CONTROL_CAPACITY } from "../../lib/linux/cmsg.ts";
import {
  IP_ORIGDSTADDR,
  IP_PKTINFO,
  IP_RECVERR,
  IP_TOS,
  IP_TTL,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_UDP,
  IPV6_HOPLIMIT,
  IPV6_ORIGDSTADDR,
  IPV6_PKTINFO,
  IPV6_RECVERR,
  IPV6_TCLASS,
  SCM_TXTIME,
  SO_MARK,
  SO_RXQ_OVFL,
  SO_TIMESTAMPNS,
  SOL_SOCKET,
  UDP_GRO,
  UDP_SEGMENT,
} from "../../lib/linux/constants.ts";
import { readExtendedError, readMetadata, readStride } from "../../lib/linux/recv-cmsg.ts";
import { type FuzzProperty, property, require, requireEqual } from "./property.ts";

/** Words before and after the control messages, which the parsers must not read. */
const MARGIN_WORDS = 16;
const LOCAL = SocketAddress.ip("192.0.2.1", 4242);

/** Level and type of every message that the library reads. */
const KNOWN = [
  [IPPROTO_IP, IP_TOS],
  [IPPROTO_IP, IP_TTL],
  [IPPROTO_IP, IP_PKTINFO],
  [IPPROTO_IP, IP_ORIGDSTADDR],
  [IPPROTO_IP, IP_RECVERR],
  [IPPROTO_IPV6, IPV6_TCLASS],
  [IPPROTO_IPV6, IPV6_HOPLIMIT],
  [IPPROTO_IPV6, IPV6_PKTINFO],
  [IPPROTO_IPV6, IPV6_ORIGDSTADDR],
  [IPPROTO_IPV6, IPV6_RECVERR],
  [IPPROTO_UDP, UDP_GRO],
  [SOL_SOCKET, SO_TIMESTAMPNS],
  [SOL_SOCKET, SO_MARK],
  [SOL_SOCKET, SO_RXQ_OVFL],
] as const;

/** A message, mostly of a known kind and with a plausible length. */
const message = fc
  .record({
    kind: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...KNOWN) },
      fc.tuple(fc.integer(), fc.integer()),
    ),
    length: fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 15, max: 64 }) }, fc.integer()),
    high: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer()),
    data: fc.array(fc.integer(), { maxLength: 12 }),
  })
  .map(({ kind, length, high, data }) => [length, high, ...kind, ...data]);

/** The words of control messages: a sequence of messages, or anything. */
const words = fc.oneof(
  { weight: 3, arbitrary: fc.array(message, { maxLength: 5 }).map((list) => list.flat()) },
  fc.array(fc.integer(), { maxLength: 40 }),
);

/** Decodes control messages between margins of `margin`, and returns the result as text. */
function decode(control: readonly number[], bytes: number, margin: number): string {
  const all = new Int32Array(MARGIN_WORDS + control.length + MARGIN_WORDS).fill(margin);
  all.set(control, MARGIN_WORDS);
  const meta = new RecvMeta();
  readMetadata(all, MARGIN_WORDS, bytes, meta, LOCAL);
  const { ecn, dscp, hopLimit, interfaceIndex, mark, socketDrops } = meta;
  require(ecn === undefined || (ecn >= 0 && ecn <= 3), () => `ecn ${ecn}`);
  require(dscp === undefined || (dscp >= 0 && dscp <= 63), () => `dscp ${dscp}`);
  const stride = readStride(all, MARGIN_WORDS, bytes);
  require(Number.isInteger(stride) && stride >= 0, () => `stride ${stride}`);
  const error = readExtendedError(all, MARGIN_WORDS, bytes);
  const addresses = [meta.destination, meta.replySource, meta.originalDestination, error?.offender];
  return JSON.stringify([
    [ecn, dscp, hopLimit, interfaceIndex, mark, socketDrops, stride],
    [meta.timestampSeconds, meta.timestampNanoseconds],
    addresses.map((address) => address && `${address}`),
    error && { ...error, offender: undefined },
  ]);
}

const arbitraryMessages = property({
  name: "control messages: arbitrary words and lengths, read within bounds",
  weight: 4,
  inputs: fc.record({ control: words, cut: fc.nat(200) }),
  check: ({ control, cut }) => {
    const bytes = Math.max(0, control.length * 4 - cut);
    const first = decode(control, bytes, 0);
    // What is outside of the messages has no influence.
    requireEqual(decode(control, bytes, -1), first, "the result depends on words outside");
    requireEqual(decode(control, bytes, 0x1d1d1d1d), first, "the result depends on words outside");
  },
});

const sendMeta: fc.Arbitrary<SendMeta> = fc.record({
  ecn: fc.constantFrom(undefined, 0, 1, 2, 3),
  dscp: fc.option(fc.nat(63), { nil: undefined }),
  source: fc.constantFrom(
    undefined,
    SocketAddress.ip("192.0.2.7", 0),
    SocketAddress.ip("2001:db8::7", 9),
    SocketAddress.ip("::ffff:192.0.2.8", 9),
  ),
  interfaceIndex: fc.option(fc.nat(2 ** 31 - 1), { nil: undefined }),
  transmitTimeNs: fc.option(fc.bigInt(0n, 2n ** 63n - 1n), { nil: undefined }),
});

const writtenMessages = property({
  name: "control messages: what is written can be read",
  weight: 2,
  inputs: fc.record({
    meta: sendMeta,
    isIPv4: fc.boolean(),
    segment: fc.option(fc.nat(65_535), { nil: undefined }),
    start: fc.nat(8).map((i) => 2 * i),
  }),
  check: ({ meta, isIPv4, segment, start }) => {
    const all = new Int32Array(start + SEND_CONTROL_CAPACITY / 4 + 4).fill(-1);
    const writer = new CmsgWriter();
    const copy = new SendMetaCopy();
    copy.set(meta);
    writer.begin(all, start);
    if (segment !== undefined) writer.segmentBytes(segment);
    writer.sendMeta(copy, isIPv4);
    require(writer.byteLength <= SEND_CONTROL_CAPACITY, () => `${writer.byteLength} bytes`);
    const end = start + writer.byteLength / 4;
    require(all.every((word, i) => (i >= start && i < end) || word === -1), () =>
      "written out of bounds");
    const reader = new CmsgReader();
    const kinds: string[] = [];
    reader.begin(all, start, writer.byteLength);
    while (reader.next()) kinds.push(`${reader.level}/${reader.type}/${reader.word(0)}`);
    const { ecn, dscp, source, interfaceIndex = 0, transmitTimeNs } = meta;
    const ip = isIPv4 ? IPPROTO_IP : IPPROTO_IPV6;
    const expected: string[] = [];
    if (segment !== undefined) expected.push(`${IPPROTO_UDP}/${UDP_SEGMENT}/${segment}`);
    if (ecn !== undefined || dscp !== undefined) {
      expected.push(`${ip}/${isIPv4 ? IP_TOS : IPV6_TCLASS}/${((dscp ?? 0) << 2) | (ecn ?? 0)}`);
    }
    if (source !== undefined || interfaceIndex !== 0) {
      const word = isIPv4 ? interfaceIndex : (source?._encoded.words[2] ?? 0);
      expected.push(`${ip}/${isIPv4 ? IP_PKTINFO : IPV6_PKTINFO}/${word}`);
    }
    if (transmitTimeNs !== undefined) {
      expected.push(`${SOL_SOCKET}/${SCM_TXTIME}/${Number(BigInt.asIntN(32, transmitTimeNs))}`);
    }
    requireEqual(kinds.join(), expected.join(), "messages");
  },
});

export const controlMessages: readonly FuzzProperty[] = [arbitraryMessages, writtenMessages];
