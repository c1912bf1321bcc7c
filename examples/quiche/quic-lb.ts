/**
 * Connection IDs that contain the ID of a server, as in QUIC-LB (draft-ietf-quic-load-balancers-21):
 * a load balancer that keeps no state forwards the packets of a connection to its server, also after
 * the client has changed its address.
 *
 * The first octet has the number of the configuration in its upper three bits, and the length of what
 * follows in the others (section 3). Then the server ID and a nonce follow (section 5.2), as plaintext
 * or encrypted with a key that the servers share with the load balancers. Plaintext can be matched by
 * nftables and by hardware, but it reveals which connections have the same server.
 */

import { createCipheriv, createDecipheriv } from "node:crypto";

/** What servers and load balancers must agree on. */
export interface QuicLbConfig {
  /** The number of the configuration, 0 to 6. A new configuration gets another number. */
  readonly rotation: number;
  /** The length of the server IDs, at least 1. */
  readonly serverIdBytes: number;
  /** The length of the nonces, at least 4. Both lengths together are at most 19. */
  readonly nonceBytes: number;
  /** The AES-128 key. Absent: plaintext. */
  readonly key?: Uint8Array | undefined;
}

/** The number of IDs that contain no server ID (section 3.2). */
export const UNROUTABLE_ROTATION = 7;
const ROTATION_SHIFT = 5;
/** The maximum length of an ID in version 1 of QUIC (RFC 9000, section 17.2). */
const ID_BYTES_MAX = 20;
const NONCE_BYTES_MIN = 4;
const BLOCK_BYTES = 16;

/**
 * Checks a configuration.
 *
 * @throws RangeError if a value is out of range.
 */
export function checkConfig({ rotation, serverIdBytes, nonceBytes, key }: QuicLbConfig): void {
  check("rotation", rotation, 0, UNROUTABLE_ROTATION - 1);
  check("serverIdBytes", serverIdBytes, 1, ID_BYTES_MAX - 1 - NONCE_BYTES_MIN);
  check("nonceBytes", nonceBytes, NONCE_BYTES_MIN, ID_BYTES_MAX - 1 - serverIdBytes);
  if (key !== undefined) check("key.length", key.length, BLOCK_BYTES, BLOCK_BYTES);
}

function check(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`"${name}" expected integer ${min}..${max}, got ${value}`);
}

/** Returns the length of the IDs of a configuration in bytes. */
export function idBytesOf({ serverIdBytes, nonceBytes }: QuicLbConfig): number {
  return 1 + serverIdBytes + nonceBytes;
}

/** Returns the first octet of all IDs of a configuration. */
export function firstOctetOf(config: QuicLbConfig): number {
  return (config.rotation << ROTATION_SHIFT) | (idBytesOf(config) - 1);
}

/** Returns the number of the configuration of an ID; absent if the ID is empty. */
export function rotationOf(id: Uint8Array): number | undefined {
  const [first] = id;
  return first === undefined ? undefined : first >> ROTATION_SHIFT;
}

/**
 * Returns the ID with a server ID and a nonce. A nonce must not be used again; without a key it must
 * be random.
 *
 * @throws RangeError if a length differs from the configuration.
 */
export function encodeId(
  config: QuicLbConfig,
  serverId: Uint8Array,
  nonce: Uint8Array,
): Uint8Array<ArrayBuffer> {
  checkConfig(config);
  const { serverIdBytes, nonceBytes, key } = config;
  check("serverId.length", serverId.length, serverIdBytes, serverIdBytes);
  check("nonce.length", nonce.length, nonceBytes, nonceBytes);
  const id = new Uint8Array(idBytesOf(config));
  id[0] = firstOctetOf(config);
  id.set(serverId, 1);
  id.set(nonce, 1 + serverIdBytes);
  if (key !== undefined) encrypt(id.subarray(1), key);
  return id;
}

/**
 * Returns the server ID of a connection ID; absent if it is not an ID of this configuration, such as
 * the one that a client chooses for its first packets.
 */
export function decodeServerId(
  config: QuicLbConfig,
  id: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  if (id.length !== idBytesOf(config) || id[0] !== firstOctetOf(config)) return undefined;
  const block = id.slice(1);
  if (config.key !== undefined) decrypt(block, config.key);
  return block.slice(0, config.serverIdBytes);
}

// -------------------------------------------------------------------- encryption, section 5.4 ----

function encrypt(block: Uint8Array, key: Uint8Array): void {
  if (block.length === BLOCK_BYTES) block.set(aes(key, block));
  else feistel(block, key, [1, 2, 3, 4]);
}

function decrypt(block: Uint8Array, key: Uint8Array): void {
  if (block.length === BLOCK_BYTES) {
    const decipher = createDecipheriv("aes-128-ecb", key, null).setAutoPadding(false);
    block.set(decipher.update(block));
  } else {
    feistel(block, key, [4, 3, 2, 1]);
  }
}

function aes(key: Uint8Array, block: Uint8Array): Uint8Array {
  return createCipheriv("aes-128-ecb", key, null).setAutoPadding(false).update(block);
}

/**
 * Runs the passes of the Feistel network (section 5.4.2) on a block. Odd passes modify the right half,
 * even ones the left half. In the other order they restore the block. The halves of a block with an
 * odd number of bytes share the byte in the middle, four bits each.
 */
function feistel(block: Uint8Array, key: Uint8Array, passes: readonly number[]): void {
  const { length } = block;
  const isOdd = length % 2 === 1;
  const halfBytes = Math.ceil(length / 2);
  const left = block.slice(0, halfBytes);
  const right = block.slice(length - halfBytes);
  const clear = () => {
    if (!isOdd) return;
    left[halfBytes - 1] = (left[halfBytes - 1] as number) & 0xf0;
    right[0] = (right[0] as number) & 0x0f;
  };
  clear();
  for (const pass of passes) {
    const [from, to] = pass % 2 === 1 ? [left, right] : [right, left];
    const input = new Uint8Array(BLOCK_BYTES);
    input.set(from);
    input.set([length, pass], BLOCK_BYTES - 2);
    const output = aes(key, input);
    for (let i = 0; i < halfBytes; i++) to[i] = (to[i] as number) ^ (output[i] as number);
    clear();
  }
  block.set(left);
  block.set(right.subarray(isOdd ? 1 : 0), halfBytes);
  if (isOdd) block[halfBytes - 1] = (left[halfBytes - 1] as number) | (right[0] as number);
}
