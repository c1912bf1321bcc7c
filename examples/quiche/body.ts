/** The contents of transfers: the same on both sides, different in each block. */

import { createHash } from "node:crypto";

/**
 * The length of a block in bytes. Far more than a burst: the last packet of a write is short, and a
 * short packet ends a GSO message.
 */
export const BLOCK_BYTES: number = 1 << 20;

/** Returns a block of pseudo-random bytes, the same on each call (xorshift). */
function makeBlock(): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(new ArrayBuffer(BLOCK_BYTES));
  let state = 0x9e37_79b9;
  for (let i = 0; i < BLOCK_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block[i] = state;
  }
  return block;
}

/** A stream to write a body to. */
export interface BodyStream {
  write(bytes: Uint8Array, fin: boolean): Promise<void>;
}

const template = makeBlock();

/**
 * Yields the blocks of a body of `bytes` bytes. The first four bytes of each are its offset, so that
 * a lost or repeated block changes the digest. A block is valid until the next.
 */
export function* bodyBlocks(bytes: number): Generator<Uint8Array<ArrayBuffer>, void, void> {
  const block = template.slice();
  const view = new DataView(block.buffer);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    view.setUint32(0, at);
    yield bytes - at >= BLOCK_BYTES ? block : block.subarray(0, bytes - at);
  }
}

/** Writes the body of `bytes` bytes, no faster than the peer receives it, and ends the stream. */
export async function writeBody(stream: BodyStream, bytes: number): Promise<void> {
  let left = bytes;
  for (const block of bodyBlocks(bytes)) {
    left -= block.length;
    await stream.write(block, left === 0);
  }
  if (bytes === 0) await stream.write(new Uint8Array(0), true);
}

/** Returns the SHA-256 of the body of `bytes` bytes in hexadecimal. */
export function bodyDigest(bytes: number): string {
  const hasher = createHash("sha256");
  for (const block of bodyBlocks(bytes)) hasher.update(block);
  return hasher.digest("hex");
}
