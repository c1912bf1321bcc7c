/*
 * The contenders in C for UDP, with the roles of peers/run-peer.ts: "plain" uses recvmmsg(2) and
 * sendmmsg(2) with one datagram per message, "offload" receives with GRO and sends with GSO.
 * "separate" does the same, but every datagram has a buffer of its own, as in the arrays of
 * `recvMany` and `sendMany`: it copies what it receives, and gathers what it sends.
 *
 *   reference plain|offload|separate sink SECONDS RECEIVE_BYTES
 *   reference plain|offload|separate drain LAPS RECEIVE_BYTES DATAGRAMS
 *   reference plain|offload relay SECONDS RECEIVE_BYTES PORT
 *   reference plain|offload relay-drain LAPS RECEIVE_BYTES DATAGRAMS PORT
 *   reference plain|offload|separate send SECONDS PORT...   (senders.c)
 *   reference plain echo RECEIVE_BYTES
 */
#include "datagrams.h"
#include "measurement.h"
#include "offload.h"
#include "roles.h"
#include "senders.h"
#include "sockets.h"
#include "support.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Laps of a drain that are not timed, as in peers/meter.ts. */
#define WARM_UP_LAPS 150
#define LAPS_MAX 1000

#define DATAGRAM_CAPACITY (DATAGRAM_BYTES + 64)

/*
 * Receives the available datagrams from `in`, and relays them to `out` unless that is -1. Returns
 * their number, or -1 if there are none.
 */
typedef int transfer_function(int in, int out);

/* ----------------------------------------------------------------------------- plain ---- */

static struct {
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH][2];
  struct sockaddr_in names[BATCH];
  char bytes[BATCH][DATAGRAM_CAPACITY];
} plain;

static int receive_unchecked(int in) {
  for (int i = 0; i < BATCH; i++) {
    plain.vectors[i][0] = (struct iovec){plain.bytes[i], DATAGRAM_CAPACITY};
    plain.messages[i].msg_hdr = (struct msghdr){.msg_iov = plain.vectors[i],
                                                .msg_iovlen = 1,
                                                .msg_name = &plain.names[i],
                                                .msg_namelen = sizeof plain.names[i]};
  }
  int count = recvmmsg(in, plain.messages, BATCH, MSG_DONTWAIT, NULL);
  calls_made++;
  return count;
}

static int receive_plain(int in, int out) {
  (void)out;
  int count = receive_unchecked(in);
  for (int i = 0; i < count; i++)
    check_received(plain.bytes[i], (int)plain.messages[i].msg_len);
  return count;
}

static int relay_plain(int in, int out) {
  int count = receive_plain(in, out);
  for (int i = 0; i < count; i++) {
    plain.vectors[i][0] = (struct iovec){(void *)prefix(), PREFIX_BYTES};
    plain.vectors[i][1] = (struct iovec){plain.bytes[i], plain.messages[i].msg_len};
    plain.messages[i].msg_hdr =
        (struct msghdr){.msg_iov = plain.vectors[i], .msg_iovlen = 2};
  }
  send_messages(out, plain.messages, count);
  return count;
}

static void echo(int receive_bytes) {
  int fd = loopback_socket(0, receive_bytes);
  print_port(fd);
  struct pollfd ready = {fd, POLLIN, 0};
  for (;;) {
    /* Requests contain sequence numbers. Their sender checks the replies. */
    int count = receive_unchecked(fd);
    if (count < 0) poll(&ready, 1, -1);
    for (int i = 0; i < count; i++) plain.vectors[i][0].iov_len = plain.messages[i].msg_len;
    if (count > 0) send_messages(fd, plain.messages, count);
  }
}

/* --------------------------------------------------------------------------- offload ---- */

static struct gro_batch received;

/*
 * The messages that a relay sends. They refer to the received bytes, which is faster than copying
 * them. There is one message for each received one, or more where the prefixes make it longer than
 * MESSAGE_BYTES_MAX.
 */
#define RELAYED_MAX (4 * MESSAGES)
static struct {
  struct mmsghdr messages[RELAYED_MAX];
  struct gso_control control[RELAYED_MAX];
  struct iovec vectors[RELAYED_MAX * BATCH][2];
} relayed;

static int receive_offload(int in, int out) {
  (void)out;
  int count = receive_gro(in, &received), datagrams = 0;
  for (int m = 0; m < count; m++) {
    int length = (int)received.messages[m].msg_len, stride = gro_stride(&received, m);
    datagrams += (length + stride - 1) / stride;
    for (int at = 0; at < length; at += stride)
      check_received(received.bytes[m] + at, length - at < stride ? length - at : stride);
  }
  return count < 0 ? -1 : datagrams;
}

/* Copies every datagram to the next of BATCH buffers, and checks the copy. */
static int receive_separate(int in, int out) {
  static char *buffers[BATCH];
  static int next = 0;
  (void)out;
  int count = receive_gro(in, &received), datagrams = 0;
  for (int i = 0; i < BATCH && buffers[i] == NULL; i++)
    if ((buffers[i] = calloc(1, DATAGRAM_CAPACITY)) == NULL) die("calloc");
  for (int m = 0; m < count; m++) {
    int length = (int)received.messages[m].msg_len, stride = gro_stride(&received, m);
    for (int at = 0; at < length; at += stride, datagrams++) {
      int size = length - at < stride ? length - at : stride;
      if (size > DATAGRAM_CAPACITY) size = DATAGRAM_CAPACITY;
      memcpy(buffers[next], received.bytes[m] + at, (size_t)size);
      check_received(buffers[next], size);
      next = (next + 1) % BATCH;
    }
  }
  return count < 0 ? -1 : datagrams;
}

/* Makes message `m` of the last `segments` of the first `vectors` vectors. */
static void finish_message(int m, int vectors, int segments, int stride) {
  relayed.messages[m].msg_hdr = (struct msghdr){.msg_iov = relayed.vectors[vectors - segments],
                                                .msg_iovlen = 2 * (size_t)segments};
  if (segments > 1)
    set_gso(&relayed.messages[m].msg_hdr, &relayed.control[m], (unsigned short)stride);
}

static int relay_offload(int in, int out) {
  int count = receive_gro(in, &received), datagrams = 0, messages = 0;
  for (int m = 0; m < count; m++) {
    int length = (int)received.messages[m].msg_len, stride = gro_stride(&received, m);
    int used = 0, segments = 0;
    for (int at = 0; at < length; at += stride) {
      int size = length - at < stride ? length - at : stride;
      check_received(received.bytes[m] + at, size);
      if (segments == BATCH || used + PREFIX_BYTES + size > MESSAGE_BYTES_MAX) {
        finish_message(messages++, datagrams, segments, stride + PREFIX_BYTES);
        used = segments = 0;
      }
      struct iovec *pieces = relayed.vectors[datagrams];
      pieces[0] = (struct iovec){(void *)prefix(), PREFIX_BYTES};
      pieces[1] = (struct iovec){received.bytes[m] + at, (size_t)size};
      used += PREFIX_BYTES + size;
      segments++;
      datagrams++;
    }
    finish_message(messages++, datagrams, segments, stride + PREFIX_BYTES);
  }
  send_messages(out, relayed.messages, messages);
  return count < 0 ? -1 : datagrams;
}

/* ----------------------------------------------------------------- sinks and relays ---- */

static int measure_for(double seconds, int in, int out, transfer_function *transfer) {
  struct measurement measurement = {0};
  struct pollfd ready = {in, POLLIN, 0};
  for (;;) {
    int count = transfer(in, out);
    if (count < 0) poll(&ready, 1, -1);
    else if (measurement_record(&measurement, count, seconds)) return 0;
  }
}

/* Prints the port, and waits until the parent process has filled the queue and sent a byte. */
static void await_fill(int in) {
  char byte;
  print_port(in);
  if (read(STDIN_FILENO, &byte, 1) != 1) die("fill");
}

static int measure_drain(int laps, int expected, int in, int out, transfer_function *transfer) {
  static double times[LAPS_MAX];
  struct measurement measurement = {0};
  for (int lap = -WARM_UP_LAPS; lap < laps; lap++) {
    int taken = 0;
    await_fill(in);
    if (lap == 0) measurement_start(&measurement);
    else measurement_resume(&measurement);
    /* A lap is timed from its first receive on, as in peers/meter.ts. */
    double start = 0;
    int first = 0;
    while (taken < expected) {
      int count = transfer(in, out);
      if (count < 0) {
        fprintf(stderr, "drain expected %d datagrams, got %d\n", expected, taken);
        return 1;
      }
      if (taken == 0) start = now_us(), first = count;
      taken += count;
    }
    measurement_pause(&measurement);
    measurement.total += taken;
    measurement.datagrams += taken;
    if (lap >= 0) times[lap] = (now_us() - start) * 1e3 / (taken - first);
  }
  measurement_print(&measurement);
  printf("{\"ns\":%.1f}\n", median(times, laps));
  return 0;
}

int run_udp_contender(int count, char **arguments) {
  int plain_mode = !strcmp(arguments[0], "plain"), separate = !strcmp(arguments[0], "separate");
  const char *role = count > 1 ? arguments[1] : "";
  if (!strcmp(role, "echo") && count == 3) echo(atoi(arguments[2]));
  if (!strcmp(role, "send") && count >= 4) return run_sender(count, arguments);
  int relays = strstr(role, "relay") != NULL, drains = strstr(role, "drain") != NULL;
  if (count != 4 + drains + relays || (drains && atoi(arguments[2]) > LAPS_MAX)) return 2;
  if (relays && separate) return 2;
  int in = loopback_socket(0, atoi(arguments[3]));
  int out = relays ? loopback_socket(atoi(arguments[count - 1]), 0) : -1;
  if (!plain_mode) enable_gro(in);
  if (!drains) print_port(in);
  transfer_function *transfer = relays       ? (plain_mode ? relay_plain : relay_offload)
                                : plain_mode ? receive_plain
                                : separate   ? receive_separate
                                             : receive_offload;
  return drains ? measure_drain(atoi(arguments[2]), atoi(arguments[4]), in, out, transfer)
                : measure_for(atof(arguments[2]), in, out, transfer);
}
