/*
 * Measures the current speed of the machine with a fixed amount of the work that datagram programs
 * do. Virtual machines have slow spells, and a sample from one cannot be compared with others.
 *
 * Some spells affect only memory or the traffic between processors, which other virtual machines of
 * the host use as well. Therefore the gauge moves a queue that is larger than the caches of one
 * processor, and a stream from the processors of the load to those of the contender.
 */
#include "datagrams.h"
#include "offload.h"
#include "processors.h"
#include "roles.h"
#include "sockets.h"
#include "support.h"
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each part is repeated, and the median used: one repetition takes 2 ms, and may be interrupted. */
#define REPETITIONS 5
/* The queue is filled with 2 MiB and drained, then datagrams are sent and received one by one. */
#define QUEUE_BYTES (2 << 20)
#define QUEUE_MESSAGES (QUEUE_BYTES / (SEGMENTS * DATAGRAM_BYTES))
#define SINGLE_DATAGRAMS 200
/* The length of the stream, and of each write. */
#define STREAM_BYTES (4 << 20)
#define CHUNK_BYTES 65536

static void move_queue(int from, int to) {
  static struct gro_batch batch;
  static char bytes[DATAGRAM_BYTES];
  for (int i = 0; i < QUEUE_MESSAGES; i++)
    if (send(from, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) < 0) die("send");
  while (receive_gro(to, &batch) > 0) continue;
  for (int i = 0; i < SINGLE_DATAGRAMS; i++) {
    if (send(from, datagram(0), DATAGRAM_BYTES, 0) < 0) die("send");
    if (recv(to, bytes, sizeof bytes, 0) < 0) die("recv");
  }
}

static double queue_us(void) {
  double times_us[REPETITIONS + 1];
  int to = loopback_socket(0, 2 * QUEUE_BYTES), from = gso_socket(port_of(to));
  enable_gro(to);
  /* The first repetition does not count: it is slowed by page faults. */
  for (int i = 0; i <= REPETITIONS; i++) {
    double start = now_us();
    move_queue(from, to);
    times_us[i] = now_us() - start;
  }
  return median(times_us + 1, REPETITIONS);
}

static double stream_us(void) {
  static char bytes[CHUNK_BYTES];
  double times_us[REPETITIONS + 1];
  int pair[2], sender;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) die("socketpair");
  if ((sender = fork()) < 0) die("fork");
  if (sender == 0) {
    pin("load");
    for (int left = (REPETITIONS + 1) * STREAM_BYTES; left > 0; left -= CHUNK_BYTES)
      if (write(pair[0], bytes, sizeof bytes) != sizeof bytes) _exit(1);
    _exit(0);
  }
  for (int i = 0; i <= REPETITIONS; i++) {
    double start = now_us();
    for (ssize_t left = STREAM_BYTES, length; left > 0; left -= length) {
      size_t wanted = left < CHUNK_BYTES ? (size_t)left : sizeof bytes;
      if ((length = read(pair[1], bytes, wanted)) <= 0) die("read");
    }
    times_us[i] = now_us() - start;
  }
  waitpid(sender, NULL, 0);
  return median(times_us + 1, REPETITIONS);
}

/* Prints the sum of both times. */
int run_gauge(void) {
  pin("contender");
  printf("{\"gaugeUs\":%.1f}\n", queue_us() + stream_us());
  return 0;
}
