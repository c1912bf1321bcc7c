/*
 * The contenders in C, in the roles of the programs in peers/: plain recvmmsg and sendmmsg, one
 * datagram a message, or with GRO in and GSO out.
 *
 *   reference plain|offload sink SECONDS RECEIVE_BYTES
 *   reference plain|offload drain LAPS RECEIVE_BYTES DATAGRAMS
 *   reference plain|offload relay SECONDS RECEIVE_BYTES PORT
 *   reference plain|offload relay-drain LAPS RECEIVE_BYTES DATAGRAMS PORT
 *   reference plain|offload send SECONDS PORT...
 *   reference plain echo RECEIVE_BYTES
 */
#include "messages.h"
#include "reference.h"

/* Laps of a drain that are not timed, as in peers/meter.ts. */
#define WARM_UP_LAPS 150
#define LAPS_MAX 1000

#define BYTES_MAX (DATAGRAM_BYTES + 64)

/* Receives what is there from `in`, relays it to `out`: how many datagrams, -1 for none. */
typedef int step(int in, int out);

static void send_messages(int fd, struct mmsghdr *messages, int count) {
  for (int sent = 0; sent < count;) {
    int result = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
    if (result < 0) die("sendmmsg");
    calls_made++;
    sent += result;
  }
}

/* ----------------------------------------------------------------------------- plain ---- */

static struct {
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH][2];
  struct sockaddr_in names[BATCH];
  char bytes[BATCH][BYTES_MAX];
} plain;

static int receive_unchecked(int in) {
  for (int i = 0; i < BATCH; i++) {
    plain.vectors[i][0] = (struct iovec){plain.bytes[i], BYTES_MAX};
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
    /* Questions have numbers, which their asker checks. */
    int count = receive_unchecked(fd);
    if (count < 0) poll(&ready, 1, -1);
    for (int i = 0; i < count; i++) plain.vectors[i][0].iov_len = plain.messages[i].msg_len;
    if (count > 0) send_messages(fd, plain.messages, count);
  }
}

/* --------------------------------------------------------------------------- offload ---- */

static struct offload_batch received;

/*
 * What leaves, gathered from where it came, which beats copying it together: one message for each
 * that came, or more where the prefixes take it past 64 KB.
 */
#define RELAYED_MAX (4 * MESSAGES)
static struct {
  struct mmsghdr messages[RELAYED_MAX];
  struct segment_control control[RELAYED_MAX];
  struct iovec vectors[RELAYED_MAX * BATCH][2];
} relayed;

static int receive_offload(int in, int out) {
  (void)out;
  int count = receive_messages(in, &received), datagrams = 0;
  for (int m = 0; m < count; m++) {
    int length = (int)received.messages[m].msg_len, stride = message_stride(&received, m);
    datagrams += (length + stride - 1) / stride;
    for (int at = 0; at < length; at += stride)
      check_received(received.bytes[m] + at, length - at < stride ? length - at : stride);
  }
  return count < 0 ? -1 : datagrams;
}

/* The last `segments` of `vectors` segments, as message `m`. */
static void finish_message(int m, int vectors, int segments, int segment_bytes) {
  relayed.messages[m].msg_hdr = (struct msghdr){.msg_iov = relayed.vectors[vectors - segments],
                                                .msg_iovlen = 2 * (size_t)segments};
  if (segments > 1)
    segmented_message(&relayed.messages[m].msg_hdr, &relayed.control[m],
                      (unsigned short)segment_bytes);
}

static int relay_offload(int in, int out) {
  int count = receive_messages(in, &received), datagrams = 0, messages = 0;
  for (int m = 0; m < count; m++) {
    int length = (int)received.messages[m].msg_len, stride = message_stride(&received, m);
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

static int measure_for(double seconds, int in, int out, step *run) {
  struct measurement measurement = {0};
  struct pollfd ready = {in, POLLIN, 0};
  for (;;) {
    int count = run(in, out);
    if (count < 0) poll(&ready, 1, -1);
    else if (measurement_count(&measurement, count, seconds)) return 0;
  }
}

/* Has whoever started this fill the queue: it answers with a byte. */
static void await_fill(int in) {
  char answer;
  print_port(in);
  if (read(STDIN_FILENO, &answer, 1) != 1) die("fill");
}

static int measure_drain(int laps, int expected, int in, int out, step *run) {
  static double times[LAPS_MAX];
  struct measurement measurement = {0};
  for (int lap = -WARM_UP_LAPS; lap < laps; lap++) {
    int taken = 0;
    await_fill(in);
    if (lap == 0) measurement_start(&measurement);
    else measurement_resume(&measurement);
    /* From the first receive on, as there. */
    double start = 0;
    int first = 0;
    while (taken < expected) {
      int count = run(in, out);
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
  sort(times, laps);
  printf("{\"ns\":%.1f}\n", times[laps / 2]);
  return 0;
}

/* --------------------------------------------------------------------------- senders ---- */

/* Datagrams of a batch from `first` on that go in one message: the same 64 in as few as fit. */
static int offload_messages(struct mmsghdr *messages, struct iovec *vectors,
                            struct segment_control *control) {
  int count = 0;
  for (int first = 0; first < BATCH; first += SEGMENTS, count++) {
    int segments = BATCH - first < SEGMENTS ? BATCH - first : SEGMENTS;
    vectors[count] = (struct iovec){(void *)datagram(first), (size_t)segments * DATAGRAM_BYTES};
    messages[count].msg_hdr = (struct msghdr){.msg_iov = &vectors[count], .msg_iovlen = 1};
    if (segments > 1)
      segmented_message(&messages[count].msg_hdr, &control[count], DATAGRAM_BYTES);
  }
  return count;
}

static int measure_send(double seconds, int offload, const char *const *ports, int port_count) {
  static struct mmsghdr messages[BATCH];
  static struct iovec vectors[BATCH];
  static struct sockaddr_in names[BATCH];
  static struct segment_control control[BATCH];
  int fd = loopback_socket(port_count == 1 ? atoi(ports[0]) : 0, 0), count = BATCH;
  if (offload) count = offload_messages(messages, vectors, control);
  for (int i = 0; i < BATCH && !offload; i++) {
    vectors[i] = (struct iovec){(void *)datagram(i), DATAGRAM_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    if (port_count == 1) continue;
    names[i].sin_family = AF_INET;
    names[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    names[i].sin_port = htons((unsigned short)atoi(ports[i % port_count]));
    messages[i].msg_hdr.msg_name = &names[i];
    messages[i].msg_hdr.msg_namelen = sizeof names[i];
  }
  struct measurement measurement = {0};
  do send_messages(fd, messages, count);
  while (!measurement_count(&measurement, BATCH, seconds));
  return 0;
}

int run_contender(int count, char **arguments) {
  int offload = !strcmp(arguments[0], "offload");
  const char *role = count > 1 ? arguments[1] : "";
  if (!strcmp(role, "echo") && count == 3) echo(atoi(arguments[2]));
  if (!strcmp(role, "send") && count >= 4)
    return measure_send(atof(arguments[2]), offload, (const char *const *)arguments + 3, count - 3);
  int relays = strstr(role, "relay") != NULL, drains = strstr(role, "drain") != NULL;
  if (count != 4 + drains + relays || (drains && atoi(arguments[2]) > LAPS_MAX)) return 2;
  int in = loopback_socket(0, atoi(arguments[3]));
  int out = relays ? loopback_socket(atoi(arguments[count - 1]), 0) : -1;
  if (offload) enable_gro(in);
  if (!drains) print_port(in);
  step *run = relays ? (offload ? relay_offload : relay_plain)
                     : (offload ? receive_offload : receive_plain);
  return drains ? measure_drain(atoi(arguments[2]), atoi(arguments[4]), in, out, run)
                : measure_for(atof(arguments[2]), in, out, run);
}
