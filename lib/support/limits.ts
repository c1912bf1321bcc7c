/** The sizes that the library is built around. */

/**
 * The maximum UDP payload in bytes of a buffer from the factory.
 *
 * The MTU of Ethernet (IEEE 802.3, RFC 894), so that everything that an ordinary link delivers in
 * one frame fits. The headers of IP and UDP (28 or 48 bytes) leave some spare capacity.
 */
export const MAX_DATAGRAM_SIZE = 1500;

/**
 * The headroom in bytes of a buffer from the factory.
 *
 * Two QUIC variable-length integers of up to 8 bytes (RFC 9000 section 16), such as the flow ID and
 * the context ID that MASQUE puts before a UDP payload (RFC 9298 section 5).
 */
export const DGRAM_HEADROOM = 16;

/**
 * A size in bytes that every datagram fits into.
 *
 * The length field of UDP has 16 bits (RFC 768), which also limits the messages of `UDP_GRO` and
 * `UDP_SEGMENT`.
 */
export const MAX_BUF_SIZE = 65536;

/** The maximum number of datagrams of a system call: UIO_MAXIOV of the kernel. */
export const BATCH_COUNT_MAX = 1024;
