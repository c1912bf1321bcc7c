/** HTTP Datagrams, capsules and URI templates. */

import fc from "fast-check";
import {
  CapsuleDecoder,
  CapsuleError,
  ConnectUdpTemplate,
  encodeCapsule,
  HttpDatagramHeader,
  httpDatagramPrefix,
} from "../../lib/masque/index.ts";
import { errorOf, type FuzzProperty, property, require, requireEqual } from "./property.ts";

const header = new HttpDatagramHeader();

const datagrams = property({
  name: "HTTP Datagrams: arbitrary bytes are parsed within bounds",
  weight: 2,
  inputs: fc.record({ bytes: fc.uint8Array({ maxLength: 24 }), offset: fc.nat(4) }),
  check: ({ bytes, offset }) => {
    const memory = new Uint8Array(offset + bytes.length + 4).fill(0xff);
    memory.set(bytes, offset);
    const fault = header.parse(memory, offset, bytes.length);
    const state = `${fault} ${header.streamId} ${header.contextId} ${header.payloadOffset}`;
    memory.fill(0, offset + bytes.length);
    const again = header.parse(memory, offset, bytes.length);
    requireEqual(
      `${again} ${header.streamId} ${header.contextId} ${header.payloadOffset}`,
      state,
      "depends on bytes outside",
    );
    if (fault !== undefined) return;
    require(header.payloadOffset <= bytes.length, () => "payload after the end");
    const prefix = httpDatagramPrefix(header.streamId, header.contextId);
    require(prefix.length <= header.payloadOffset, () => "longer than what was parsed");
  },
});

/** A capsule, or any bytes. */
const piece = fc.oneof(
  fc
    .tuple(fc.constantFrom(0, 1, 2, 0x2575), fc.uint8Array({ maxLength: 30 }))
    .map(([type, value]) => encodeCapsule(type, value)),
  fc.uint8Array({ maxLength: 12 }),
);

/** Decodes the chunks, and returns the capsules and the error as text. */
function decode(chunks: readonly Uint8Array[]): string {
  const capsules: string[] = [];
  const decoder = new CapsuleDecoder(
    (type, value) => capsules.push(`${type}:${Buffer.from(value).toString("hex")}`),
    { types: [0, 1], valueBytesMax: 40 },
  );
  const error = errorOf(() => {
    for (const chunk of chunks) decoder.push(chunk);
    decoder.end();
  }, CapsuleError);
  return `${capsules.join()} ${(error as CapsuleError | undefined)?.code}`;
}

const capsules = property({
  name: "capsules: the result does not depend on how the stream is split",
  weight: 2,
  inputs: fc.record({
    pieces: fc.array(piece, { maxLength: 6 }),
    size: fc.integer({ min: 1, max: 9 }),
  }),
  check: ({ pieces, size }) => {
    const stream = Buffer.concat(pieces);
    const whole = decode([stream]);
    const chunks: Uint8Array[] = [];
    for (let i = 0; i < stream.length; i += size) chunks.push(stream.subarray(i, i + size));
    requireEqual(decode(chunks), whole, "split");
  },
});

const template = new ConnectUdpTemplate("https://p/udp/{target_host}/{target_port}/{?target_id}");

const paths = property({
  name: "URI templates: any path is matched or not, and what matches can be expanded again",
  weight: 1,
  inputs: fc.tuple(
    fc.oneof(fc.string(), fc.ipV4(), fc.ipV6().map(encodeURIComponent), fc.domain()),
    fc.oneof(fc.string(), fc.nat(70_000).map(String)),
  ),
  check: ([host, port]) => {
    const target = template.match(`/udp/${host}/${port}/`);
    if (target === undefined) return;
    const again = template.match(template.expand(target));
    requireEqual(`${again?.host} ${again?.port}`, `${target.host} ${target.port}`, "target");
  },
});

export const masque: readonly FuzzProperty[] = [datagrams, capsules, paths];
