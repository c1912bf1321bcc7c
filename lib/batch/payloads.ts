/** Sends the caller's buffers: builds messages of an array of payloads. */

import { DgramBuffer } from "../buffer/buffer.ts";
import { type Destinations, destinationAt } from "../datagram/destination.ts";
import { checkPayload, type Payload } from "../datagram/payload.ts";
import type { MessageBuilder } from "./message-builder.ts";
import type { BufferRange } from "./targets.ts";

/**
 * Builds messages of the payloads of a range, and returns the number of messages.
 *
 * @throws TypeError for an invalid payload or address.
 */
export function fillPayloads(
  builder: MessageBuilder,
  bufs: readonly Payload[],
  { start, count }: BufferRange,
  to: Destinations,
): number {
  builder.vector.reserve(count);
  const isOnePeer = !Array.isArray(to);
  for (let i = start; i < start + count; ) {
    const buf = bufs[i] as Payload;
    checkPayload("bufs[]", buf);
    builder.add(buf.length, destinationAt(to, i));
    i++;
    if (buf instanceof DgramBuffer) {
      builder.piece(buf._bytes, buf._start, buf.length);
    } else {
      builder.piece(buf, 0, buf.length);
      if (isOnePeer) i += builder.addEqual(bufs, i, start + count);
    }
  }
  return builder.finish();
}

/** Returns the number of bytes of `count` payloads from `start` on. */
export function bytesOf(bufs: readonly Payload[], start: number, count: number): number {
  let bytes = 0;
  for (let i = start; i < start + count; i++) bytes += (bufs[i] as Payload).length;
  return bytes;
}
