/* The datagrams of the benchmarks, the same as in ../datagrams.ts, and how they are checked. */
#include "datagrams.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char datagrams[BATCH][DATAGRAM_BYTES];

const char *datagram(int i) {
  if (datagrams[1][0] == 0)
    for (int d = 0; d < BATCH; d++)
      for (int at = 0; at < DATAGRAM_BYTES; at++) datagrams[d][at] = (char)(d + 7 * at);
  return datagrams[i];
}

const char *prefix(void) {
  return "\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7";
}

int check_datagram(const char *bytes, int length, int prefix_bytes, int briefly) {
  if (length != DATAGRAM_BYTES + prefix_bytes) return -1;
  int i = bytes[prefix_bytes];
  if (i < 0 || i >= BATCH || bytes[length - 1] != datagram(i)[DATAGRAM_BYTES - 1]) return -1;
  if (briefly) return i;
  if (memcmp(bytes, prefix(), (size_t)prefix_bytes)) return -1;
  return memcmp(bytes + prefix_bytes, datagram(i), DATAGRAM_BYTES) ? -1 : i;
}

void check_received(const char *bytes, int length) {
  static int left = CHECKED_DATAGRAMS;
  if (left == 0) return;
  left--;
  if (check_datagram(bytes, length, 0, 0) >= 0) return;
  fprintf(stderr, "received %d bytes that are not one of the datagrams sent\n", length);
  exit(1);
}
