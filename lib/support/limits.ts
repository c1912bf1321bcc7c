/**
 * The sizes that the rest of the library is built around, each with where it comes from.
 */

/**
 * The largest UDP payload that a buffer of the factory is made for, in bytes.
 *
 * It is the MTU of Ethernet (IEEE 802.3, RFC 894), so that whatever an ordinary link delivers in
 * one frame fits; the IP and UDP headers (28 or 48 bytes) leave a little room on top.
 */
export const MAX_DATAGRAM_SIZE = 1500;

/**
 * The headroom that a buffer of the factory has in front of its payload, in bytes.
 *
 * Room for two QUIC variable-length integers of at most 8 bytes each (RFC 9000, section 16): a
 * flow ID and a context ID, as MASQUE puts them in front of a UDP payload (RFC 9298, section 5).
 */
export const DGRAM_HEADROOM = 16;

/**
 * Room for any datagram, in bytes.
 *
 * The length field of UDP has 16 bits (RFC 768), so no datagram reaches this size; nor does what
 * the kernel coalesces into one receive (`UDP_GRO`) or splits from one send (`UDP_SEGMENT`).
 */
export const MAX_BUF_SIZE = 65536;

/** Datagrams that one system call moves: UIO_MAXIOV of the kernel, beyond which it takes no more. */
export const BATCH_COUNT_MAX = 1024;
