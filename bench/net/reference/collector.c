/* Receives what senders and relays send, with GRO, and checks every datagram. */
#include "datagrams.h"
#include "offload.h"
#include "roles.h"
#include "sockets.h"
#include <poll.h>
#include <stdio.h>

/* Later datagrams are checked briefly, so that the collector does not become the bottleneck. */
#define FULLY_CHECKED_DATAGRAMS 10000

struct collected {
  double datagrams, bad;
};

static void check_message(struct collected *collected, const struct gro_batch *batch, int m,
                          int prefix_bytes, int expected) {
  int length = (int)batch->messages[m].msg_len, stride = gro_stride(batch, m);
  for (int at = 0; at < length; at += stride) {
    int size = length - at < stride ? length - at : stride;
    int briefly = collected->datagrams >= FULLY_CHECKED_DATAGRAMS;
    int i = check_datagram(batch->bytes[m] + at, size, prefix_bytes, briefly);
    if (i < 0 || (expected >= 0 && i != expected)) collected->bad++;
    collected->datagrams++;
  }
}

/*
 * Prints the ports of its sockets, and the result when standard input ends. The sockets remain open
 * until then: a sender without a receiver is faster. If there are several sockets, socket `k` must
 * receive only datagram `k`.
 */
int run_collector(int sockets, int prefix_bytes) {
  static struct gro_batch batch;
  static struct pollfd ready[BATCH + 1];
  struct collected collected = {0, 0};
  if (sockets < 1 || sockets > BATCH) return 2;
  printf("{\"ports\":[");
  for (int k = 0; k < sockets; k++) {
    ready[k] = (struct pollfd){loopback_socket(0, 1 << 20), POLLIN, 0};
    enable_gro(ready[k].fd);
    printf(k ? ",%d" : "%d", port_of(ready[k].fd));
  }
  printf("]}\n");
  fflush(stdout);
  ready[sockets] = (struct pollfd){0, POLLIN, 0};
  for (int has_ended = 0; !has_ended;) {
    poll(ready, (nfds_t)sockets + 1, -1);
    has_ended = ready[sockets].revents != 0;
    for (int k = 0; k < sockets; k++) {
      if (!ready[k].revents) continue;
      for (int count; (count = receive_gro(ready[k].fd, &batch)) > 0;)
        for (int m = 0; m < count; m++)
          check_message(&collected, &batch, m, prefix_bytes, sockets > 1 ? k : -1);
    }
  }
  printf("{\"datagrams\":%.0f,\"bad\":%.0f}\n", collected.datagrams, collected.bad);
  return 0;
}
