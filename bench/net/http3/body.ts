/** The bodies of the HTTP/3 downloads: the same in the server and the client. */

const BLOCK_BYTES = 2 ** 16;

/** Returns the body of that length. Blocks differ, so that a lost or repeated one is found. */
export function makeBody(bytes: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK_BYTES);
  let state = 0x2545_f491;
  for (let i = 0; i < BLOCK_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    block[i] = state;
  }
  const body = new Uint8Array(bytes);
  const view = new DataView(body.buffer);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    body.set(block.subarray(0, bytes - at), at);
    if (at + 4 <= bytes) view.setUint32(at, at);
  }
  return body;
}

/** Returns the SHA-256 of the concatenation of `chunks`, in hexadecimal. */
export function digestOf(chunks: readonly Uint8Array<ArrayBuffer>[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const chunk of chunks) hasher.update(chunk);
  return hasher.digest("hex");
}
