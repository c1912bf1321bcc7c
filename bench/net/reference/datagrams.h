/* The datagrams of the benchmarks, the same as in ../datagrams.ts, and how they are checked. */
#ifndef DATAGRAMS_H
#define DATAGRAMS_H

/* The number of datagrams per batch, all with different contents. */
#define BATCH 64

/* The length of a datagram, set by the compiler's command line (-DDATAGRAM_BYTES=1200). */
#ifndef DATAGRAM_BYTES
#define DATAGRAM_BYTES 1200
#endif

/* The length of the prefix that a relay adds. */
#define PREFIX_BYTES 8

/* The number of datagrams that a contender checks before it is timed, as in ../peers/meter.ts. */
#define CHECKED_DATAGRAMS 1000

/* Returns datagram `i` of the batch. All datagrams are adjacent in memory. */
const char *datagram(int i);

/* Returns the prefix. */
const char *prefix(void);

/*
 * Checks whether `bytes` is a prefix of `prefix_bytes` bytes followed by one of the datagrams.
 * Returns the index of the datagram, or -1. If `briefly`, checks only the length, the index and the
 * last byte.
 */
int check_datagram(const char *bytes, int length, int prefix_bytes, int briefly);

/* Exits if one of the first CHECKED_DATAGRAMS datagrams that this is called with is invalid. */
void check_received(const char *bytes, int length);

#endif
