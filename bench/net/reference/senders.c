/*
 * The senders of the contenders in C for UDP.
 *
 *   reference plain|offload|separate send SECONDS PORT...
 *
 * Sends the BATCH datagrams to the only port, from a connected socket, or datagram `i` to port `i`.
 * If the environment sets a batch size (../datagrams.ts), sends batches of that size to the ports
 * in turn, or to one after the other. A batch could be different each time, so that its messages are
 * made anew: "plain" makes one per datagram, "offload" groups the datagrams by port (their order
 * matters only to each receiver) and makes GSO messages of each group.
 */
#include "senders.h"
#include "datagrams.h"
#include "measurement.h"
#include "offload.h"
#include "sockets.h"
#include "support.h"
#include <stdlib.h>
#include <string.h>

/* The maximum batch size and number of ports: that of messages per system call (UIO_MAXIOV). */
#define BATCH_MAX 1024

void send_messages(int fd, struct mmsghdr *messages, int count) {
  for (int sent = 0; sent < count;) {
    int result = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
    if (result < 0) die("sendmmsg");
    calls_made++;
    sent += result;
  }
}

static struct mmsghdr messages[BATCH_MAX];
static struct iovec vectors[BATCH_MAX];
static struct gso_control control[BATCH_MAX];
static struct sockaddr_in names[BATCH_MAX];

/* ------------------------------------------------------------------------- one batch ---- */

/* Makes as few GSO messages as possible of the batch, which is adjacent in memory. */
static int make_adjacent_messages(void) {
  int count = 0;
  for (int first = 0; first < BATCH; first += SEGMENTS, count++) {
    int segments = BATCH - first < SEGMENTS ? BATCH - first : SEGMENTS;
    vectors[count] = (struct iovec){(void *)datagram(first), (size_t)segments * DATAGRAM_BYTES};
    messages[count].msg_hdr = (struct msghdr){.msg_iov = &vectors[count], .msg_iovlen = 1};
    if (segments > 1) set_gso(&messages[count].msg_hdr, &control[count], DATAGRAM_BYTES);
  }
  return count;
}

/* Makes message `m` of `segments` vectors from `first` on. */
static void make_gathered_message(int m, int first, int segments) {
  messages[m].msg_hdr =
      (struct msghdr){.msg_iov = &vectors[first], .msg_iovlen = (size_t)segments};
  if (segments > 1) set_gso(&messages[m].msg_hdr, &control[m], DATAGRAM_BYTES);
}

/* The same of datagrams that have a buffer each. */
static int make_separate_messages(char *const *buffers) {
  int count = 0;
  for (int i = 0; i < BATCH; i++) vectors[i] = (struct iovec){buffers[i], DATAGRAM_BYTES};
  for (int first = 0; first < BATCH; first += SEGMENTS, count++)
    make_gathered_message(count, first, BATCH - first < SEGMENTS ? BATCH - first : SEGMENTS);
  return count;
}

static char **new_buffers(void) {
  static char *buffers[BATCH];
  for (int i = 0; i < BATCH; i++) {
    if ((buffers[i] = calloc(1, DATAGRAM_BYTES)) == NULL) die("calloc");
    memcpy(buffers[i], datagram(i), DATAGRAM_BYTES);
  }
  return buffers;
}

static int make_single_messages(int port_count, char **ports) {
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){(void *)datagram(i), DATAGRAM_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    if (port_count == 1) continue;
    names[i] = loopback_address(atoi(ports[i % port_count]));
    messages[i].msg_hdr.msg_name = &names[i];
    messages[i].msg_hdr.msg_namelen = sizeof names[i];
  }
  return BATCH;
}

static int send_batch(const char *mode, double seconds, int port_count, char **ports) {
  struct measurement measurement = {0};
  int fd = loopback_socket(port_count == 1 ? atoi(ports[0]) : 0, 0), count = 0;
  int separate = !strcmp(mode, "separate");
  char **buffers = separate ? new_buffers() : NULL;
  if (!strcmp(mode, "plain")) count = make_single_messages(port_count, ports);
  else if (port_count > 1) return 2;
  else if (!separate) count = make_adjacent_messages();
  do {
    /* As in an array that the caller passes: the buffers may be others each time. */
    if (separate) count = make_separate_messages(buffers);
    send_messages(fd, messages, count);
  } while (!measurement_record(&measurement, BATCH, seconds));
  return 0;
}

/* ------------------------------------------------------------------ batches to peers ---- */

/* A batch as a caller has it: datagrams, and the index of the port of each. */
static struct {
  int size, ports;
  const char *bytes[BATCH_MAX];
  int port[BATCH_MAX];
} batch;

/* The same order as in ../datagrams.ts. */
static void fill_batch(int size, int ports, int grouped) {
  batch.size = size;
  batch.ports = ports;
  for (int i = 0; i < size; i++) {
    int each = size / ports, d = grouped ? i % each * ports + i / each : i;
    batch.bytes[i] = datagram(d % BATCH);
    batch.port[i] = d % ports;
  }
}

static int make_messages_in_order(void) {
  for (int i = 0; i < batch.size; i++) {
    vectors[i] = (struct iovec){(void *)batch.bytes[i], DATAGRAM_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
                                          .msg_iovlen = 1,
                                          .msg_name = &names[batch.port[i]],
                                          .msg_namelen = sizeof names[0]};
  }
  return batch.size;
}

/* A counting sort: the datagrams of each port stay in order. */
static int make_messages_by_port(void) {
  static int starts[BATCH_MAX + 1], ends[BATCH_MAX];
  int count = 0;
  memset(starts, 0, sizeof starts);
  for (int i = 0; i < batch.size; i++) starts[batch.port[i] + 1]++;
  for (int p = 0; p < batch.ports; p++) ends[p] = starts[p + 1] += starts[p];
  for (int i = batch.size - 1; i >= 0; i--)
    vectors[--ends[batch.port[i]]] = (struct iovec){(void *)batch.bytes[i], DATAGRAM_BYTES};
  for (int p = 0; p < batch.ports; p++) {
    for (int first = starts[p]; first < starts[p + 1]; first += SEGMENTS, count++) {
      int left = starts[p + 1] - first;
      make_gathered_message(count, first, left < SEGMENTS ? left : SEGMENTS);
      messages[count].msg_hdr.msg_name = &names[p];
      messages[count].msg_hdr.msg_namelen = sizeof names[p];
    }
  }
  return count;
}

static int send_to_peers(int offload, double seconds) {
  struct measurement measurement = {0};
  int fd = loopback_socket(0, 0);
  do send_messages(fd, messages, offload ? make_messages_by_port() : make_messages_in_order());
  while (!measurement_record(&measurement, batch.size, seconds));
  return 0;
}

int run_sender(int count, char **arguments) {
  const char *mode = arguments[0], *size = getenv("DATAGRAM_BENCH_BATCH");
  const char *order = getenv("DATAGRAM_BENCH_ORDER");
  double seconds = atof(arguments[2]);
  char **ports = arguments + 3;
  int port_count = count - 3;
  if (size == NULL) return send_batch(mode, seconds, port_count, ports);
  if (atoi(size) < port_count || atoi(size) > BATCH_MAX) return 2;
  for (int p = 0; p < port_count; p++) names[p] = loopback_address(atoi(ports[p]));
  fill_batch(atoi(size), port_count, order != NULL && !strcmp(order, "grouped"));
  return send_to_peers(strcmp(mode, "plain") != 0, seconds);
}
