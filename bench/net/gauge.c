/*
 * How fast the machine is right now: a fixed piece of what datagram programs spend their time on,
 * system calls and copies. Virtual machines have slow spells that hit everybody on them; a figure
 * taken in one is no figure.
 */
#include "reference.h"

/* About 2 ms a piece; the median of a few, as one may be interrupted. */
#define PIECES 5
#define ROUNDS 800
#define MESSAGE_BYTES 1200
#define COPIED_BYTES 16384

int gauge(void) {
  static char from[COPIED_BYTES], to[COPIED_BYTES];
  double pieces_us[PIECES];
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) die("socketpair");
  for (int piece = 0; piece < PIECES; piece++) {
    double start = now_us();
    for (int i = 0; i < ROUNDS; i++) {
      if (send(pair[0], from, MESSAGE_BYTES, 0) < 0) die("send");
      if (recv(pair[1], from, MESSAGE_BYTES, 0) < 0) die("recv");
      memcpy(to, from, sizeof to);
      /* Else the copy could be left out. */
      __asm__ volatile("" : : "r"(to) : "memory");
    }
    pieces_us[piece] = now_us() - start;
  }
  sort(pieces_us, PIECES);
  printf("{\"gaugeUs\":%.1f}\n", pieces_us[PIECES / 2]);
  return 0;
}
