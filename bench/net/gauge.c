/*
 * How fast the machine is right now: a fixed piece of what datagram programs spend their time on.
 * Virtual machines have slow spells that hit everybody on them; a figure taken in one is no
 * figure. Some slow down only what goes through memory or from one processor to another, which
 * neighbours share: so a queue is moved that is larger than a processor's own caches, and a stream
 * goes from the processors of loads to those of contenders.
 */
#include "messages.h"
#include "reference.h"
#include <sys/wait.h>

/* About 2 ms a piece; the median of a few, as one may be interrupted. */
#define PIECES 5
/* A queue of 2 MiB is filled and drained, and so many datagrams go one by one. */
#define QUEUE_BYTES (2 << 20)
#define QUEUE_MESSAGES (QUEUE_BYTES / (SEGMENTS * DATAGRAM_BYTES))
#define SINGLES 200
/* From processor to processor, so much at a time. */
#define STREAM_BYTES (4 << 20)
#define CHUNK_BYTES 65536

static double median_of(double *pieces_us) {
  sort(pieces_us, PIECES);
  return pieces_us[PIECES / 2];
}

static void move_queue(int from, int to) {
  static struct offload_batch batch;
  static char bytes[DATAGRAM_BYTES];
  for (int i = 0; i < QUEUE_MESSAGES; i++)
    if (send(from, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) < 0) die("send");
  while (receive_messages(to, &batch) > 0) continue;
  for (int i = 0; i < SINGLES; i++) {
    if (send(from, datagram(0), DATAGRAM_BYTES, 0) < 0) die("send");
    if (recv(to, bytes, sizeof bytes, 0) < 0) die("recv");
  }
}

static double queue_us(void) {
  double pieces_us[PIECES + 1];
  int to = loopback_socket(0, 2 * QUEUE_BYTES), from = segmenting_socket(port_of(to));
  enable_gro(to);
  /* The first one touches its memory for the first time, and does not count. */
  for (int piece = 0; piece <= PIECES; piece++) {
    double start = now_us();
    move_queue(from, to);
    pieces_us[piece] = now_us() - start;
  }
  return median_of(pieces_us + 1);
}

static double stream_us(void) {
  static char bytes[CHUNK_BYTES];
  double pieces_us[PIECES + 1];
  int pair[2], sender;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) die("socketpair");
  if ((sender = fork()) < 0) die("fork");
  if (sender == 0) {
    pin("load");
    for (int left = (PIECES + 1) * STREAM_BYTES; left > 0; left -= CHUNK_BYTES)
      if (write(pair[0], bytes, sizeof bytes) != sizeof bytes) _exit(1);
    _exit(0);
  }
  for (int piece = 0; piece <= PIECES; piece++) {
    double start = now_us();
    for (ssize_t left = STREAM_BYTES, length; left > 0; left -= length) {
      size_t most = left < CHUNK_BYTES ? (size_t)left : sizeof bytes;
      if ((length = read(pair[1], bytes, most)) <= 0) die("read");
    }
    pieces_us[piece] = now_us() - start;
  }
  waitpid(sender, NULL, 0);
  return median_of(pieces_us + 1);
}

int gauge(void) {
  pin("contender");
  printf("{\"gaugeUs\":%.1f}\n", queue_us() + stream_us());
  return 0;
}
