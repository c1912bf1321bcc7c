/* The other end of what senders and relays send: receives with GRO, and checks every datagram. */
#include "reference.h"
#include "messages.h"

/* After so many each is looked at briefly, so that the check does not become the limit. */
#define CHECKED_FULLY 10000

struct collected {
  double datagrams, bad;
};

static void take_message(struct collected *collected, const struct offload_batch *batch, int m,
                         int prefix_bytes, int expected) {
  int length = (int)batch->messages[m].msg_len, stride = message_stride(batch, m);
  for (int at = 0; at < length; at += stride) {
    int size = length - at < stride ? length - at : stride;
    int briefly = collected->datagrams >= CHECKED_FULLY;
    int i = check_datagram(batch->bytes[m] + at, size, prefix_bytes, briefly);
    if (i < 0 || (expected >= 0 && i != expected)) collected->bad++;
    collected->datagrams++;
  }
}

/*
 * Prints the ports of its sockets, and when its standard input ends what came in: the sockets stay
 * open until then, for a sender that outlives them would look fast. Of several sockets, number k
 * expects datagram k alone.
 */
int collect(int sockets, int prefix_bytes) {
  static struct offload_batch batch;
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
      for (int count; (count = receive_messages(ready[k].fd, &batch)) > 0;)
        for (int m = 0; m < count; m++)
          take_message(&collected, &batch, m, prefix_bytes, sockets > 1 ? k : -1);
    }
  }
  printf("{\"datagrams\":%.0f,\"bad\":%.0f}\n", collected.datagrams, collected.bad);
  return 0;
}
