/* Receives what senders and relays send, with GRO, and checks every datagram. */
#include "datagrams.h"
#include "offload.h"
#include "roles.h"
#include "sockets.h"
#include <poll.h>
#include <stdio.h>

/* Later datagrams are checked briefly, so that the collector does not become the bottleneck. */
#define FULLY_CHECKED_DATAGRAMS 10000
#define COLLECTOR_SOCKETS_MAX 1024

struct collected {
  double datagrams, bad;
};

/* Socket `k` of `sockets`, a power of two, receives the datagrams `k`, `k + sockets`, ... */
static int is_for_socket(int i, int k, int sockets) {
  return i % (sockets < BATCH ? sockets : BATCH) == k % BATCH;
}

static void check_message(struct collected *collected, const struct gro_batch *batch, int m,
                          int prefix_bytes, int k, int sockets) {
  int length = (int)batch->messages[m].msg_len, stride = gro_stride(batch, m);
  for (int at = 0; at < length; at += stride) {
    int size = length - at < stride ? length - at : stride;
    int briefly = collected->datagrams >= FULLY_CHECKED_DATAGRAMS;
    int i = check_datagram(batch->bytes[m] + at, size, prefix_bytes, briefly);
    if (i < 0 || !is_for_socket(i, k, sockets)) collected->bad++;
    collected->datagrams++;
  }
}

/*
 * Prints the ports of its sockets, and the result when standard input ends. The sockets remain open
 * until then: a sender without a receiver is faster. If there are several sockets, each must receive
 * only its own datagrams.
 */
int run_collector(int sockets, int prefix_bytes) {
  static struct gro_batch batch;
  static struct pollfd ready[COLLECTOR_SOCKETS_MAX + 1];
  struct collected collected = {0, 0};
  if (sockets < 1 || sockets > COLLECTOR_SOCKETS_MAX) return 2;
  allow_many_descriptors();
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
          check_message(&collected, &batch, m, prefix_bytes, k, sockets);
    }
  }
  printf("{\"datagrams\":%.0f,\"bad\":%.0f}\n", collected.datagrams, collected.bad);
  return 0;
}
