/*
 * The load for contenders.
 *
 *   reference flood PORT SOCKETS             sends GSO messages at full speed until it is killed
 *   reference fill PORT MESSAGES             sends that number of GSO messages
 *   reference spread PORT...                 sends to the ports in turn until it is killed
 *   reference ping COUNT GAP_US PORT...      COUNT round trips to each port, one at a time
 *   reference flows PORT FLOWS SECONDS       round trips from many sockets, one at a time each
 */
#include "datagrams.h"
#include "measurement.h"
#include "offload.h"
#include "roles.h"
#include "sockets.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* A limit for roles that run until they are killed, in case the benchmark does not do so. */
#define RUN_US_MAX 60e6
/* A flow whose reply takes longer counts a lost datagram, and sends the next request. */
#define REPLY_US_MAX 1e5
#define FLOWS_MAX 4096
#define TRIPS_MAX 2000000
/* Round trips to one server before the next server is used: timed ones, and a warm-up before. */
#define BLOCK_TRIPS 250
#define BLOCK_WARM_UP_TRIPS 50
#define SERVERS_MAX 16

/* Each socket is a flow of its own, so that the kernel spreads them over an SO_REUSEPORT group. */
static int flood(int port, int sockets) {
  int fds[BATCH];
  if (sockets < 1 || sockets > BATCH) return 2;
  for (int i = 0; i < sockets; i++) fds[i] = gso_socket(port);
  double end = now_us() + RUN_US_MAX;
  /* Errors are ignored: the receiver may exit before this process is killed. */
  for (int i = 0; now_us() < end; i = (i + 1) % sockets)
    send(fds[i], datagram(0), SEGMENTS * DATAGRAM_BYTES, 0);
  return 0;
}

static int fill(int port, int messages) {
  int fd = gso_socket(port);
  for (int i = 0; i < messages; i++)
    if (send(fd, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) < 0) die("send");
  return 0;
}

/* Sends BATCH datagrams per system call, the fastest way without GSO. */
static int spread(int count, char **ports) {
  static struct mmsghdr messages[BATCH];
  static struct iovec vectors[BATCH];
  struct sockaddr_in *names = calloc((size_t)count, sizeof *names);
  int fd = loopback_socket(0, 0);
  for (int i = 0; i < count; i++) names[i] = loopback_address(atoi(ports[i]));
  double end = now_us() + RUN_US_MAX;
  for (int next = 0; now_us() < end;) {
    for (int i = 0; i < BATCH; i++, next = (next + 1) % count) {
      vectors[i] = (struct iovec){(void *)datagram(i), DATAGRAM_BYTES};
      messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
                                            .msg_iovlen = 1,
                                            .msg_name = &names[next],
                                            .msg_namelen = sizeof names[next]};
    }
    sendmmsg(fd, messages, BATCH, 0);
  }
  return 0;
}

/* ----------------------------------------------------------------------- round trips ---- */

/*
 * The round trips to one server. `all` counts the replies, including those of warm-ups, `done` the
 * timed ones, whose times are in `us`.
 */
struct trips {
  double *us, seconds, cpu_us;
  int all, done, lost;
};

static void print_trips(struct trips trips) {
  sort(trips.us, trips.done);
  if (trips.done == 0) exit(1);
  printf("{\"p50Us\":%.2f,\"p99Us\":%.2f,\"p999Us\":%.2f,", trips.us[trips.done / 2],
         trips.us[(long)trips.done * 99 / 100], trips.us[(long)trips.done * 999 / 1000]);
  printf("\"all\":%d,\"trips\":%d,\"lost\":%d,\"seconds\":%f,\"loadCpu\":%f}\n", trips.all,
         trips.done, trips.lost, trips.seconds, trips.cpu_us / 1e6 / trips.seconds);
}

/* Receives until the reply that equals `request` arrives. Returns 0 if there is none in time. */
static int await_reply(int fd, const char *request) {
  char reply[DATAGRAM_BYTES + 1];
  for (;;) {
    ssize_t length = recv(fd, reply, sizeof reply, 0);
    if (length < 0) return 0;
    /* The first 4 bytes are a sequence number: a late reply to an earlier request is skipped. */
    if (length != DATAGRAM_BYTES || memcmp(reply + 4, request + 4, DATAGRAM_BYTES - 4)) {
      fprintf(stderr, "a reply is not equal to its request\n");
      exit(1);
    }
    if (!memcmp(reply, request, 4)) return 1;
  }
}

/* Times `count` round trips, after a warm-up: the server was idle while others were measured. */
static void ping_block(int fd, struct trips *trips, int count, int gap_us) {
  static int number;
  char request[DATAGRAM_BYTES];
  memcpy(request, datagram(1), sizeof request);
  double begin = now_us();
  for (int i = -BLOCK_WARM_UP_TRIPS; i < count; i++) {
    double start = now_us();
    if (i == 0) begin = start;
    number++;
    memcpy(request, &number, sizeof number);
    send(fd, request, sizeof request, 0);
    int has_reply = await_reply(fd, request);
    trips->all += has_reply;
    if (i >= 0 && has_reply) trips->us[trips->done++] = now_us() - start;
    if (i >= 0 && !has_reply) trips->lost++;
    if (gap_us) usleep((unsigned)gap_us);
  }
  trips->seconds += (now_us() - begin) / 1e6;
}

/* Alternates between the servers in short blocks, so that a slow spell affects all of them. */
static int ping(int count, int gap_us, int servers, char **ports) {
  int fds[SERVERS_MAX];
  struct trips trips[SERVERS_MAX] = {0};
  struct timeval timeout = {1, 0};
  if (servers > SERVERS_MAX || count > TRIPS_MAX) return 2;
  for (int s = 0; s < servers; s++) {
    fds[s] = loopback_socket(atoi(ports[s]), 0);
    setsockopt(fds[s], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    trips[s].us = calloc((size_t)count, sizeof *trips[s].us);
  }
  for (int done = 0; done < count; done += BLOCK_TRIPS) {
    int block = count - done < BLOCK_TRIPS ? count - done : BLOCK_TRIPS;
    for (int s = 0; s < servers; s++) ping_block(fds[s], &trips[s], block, gap_us);
  }
  for (int s = 0; s < servers; s++) print_trips(trips[s]);
  return 0;
}

static struct flow {
  int fd;
  double sent_us;
} flow_table[FLOWS_MAX];

static void send_request(struct flow *flow) {
  flow->sent_us = now_us();
  /* A failed send counts as lost, when its reply is overdue. */
  send(flow->fd, datagram(1), DATAGRAM_BYTES, 0);
}

static double cpu_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* Each flow sends its next request when the reply arrives, or when that is overdue. */
static int flows(int port, int count, double seconds) {
  if (count < 1 || count > FLOWS_MAX) return 2;
  static struct epoll_event events[BATCH];
  char reply[DATAGRAM_BYTES + 1];
  int poller = epoll_create1(0);
  struct trips trips = {.us = calloc(TRIPS_MAX, sizeof *trips.us), .seconds = seconds};
  for (int i = 0; i < count; i++) {
    flow_table[i].fd = loopback_socket(port, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)i};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, flow_table[i].fd, &event)) die("epoll_ctl");
  }
  for (int i = 0; i < count; i++) send_request(&flow_table[i]);
  double begin = now_us() + WARM_UP_US, end = begin + seconds * 1e6, swept = begin, now;
  double cpu_before = 0;
  while ((now = now_us()) < end) {
    if (now >= begin && cpu_before == 0) cpu_before = cpu_us();
    int ready = epoll_wait(poller, events, BATCH, 10);
    for (int e = 0; e < ready; e++) {
      struct flow *flow = &flow_table[events[e].data.u32];
      if (recv(flow->fd, reply, sizeof reply, MSG_DONTWAIT) < 0) continue;
      if (check_datagram(reply, DATAGRAM_BYTES, 0, 1) != 1) die("a reply");
      double trip_us = now_us() - flow->sent_us;
      trips.all++;
      if (now >= begin && trips.done < TRIPS_MAX) trips.us[trips.done++] = trip_us;
      send_request(flow);
    }
    if (now < swept + REPLY_US_MAX) continue;
    swept = now;
    for (int i = 0; i < count; i++) {
      if (now - flow_table[i].sent_us < REPLY_US_MAX) continue;
      trips.lost++;
      send_request(&flow_table[i]);
    }
  }
  trips.cpu_us = cpu_us() - cpu_before;
  print_trips(trips);
  return 0;
}

int run_load(int count, char **arguments) {
  const char *role = arguments[0];
  if (!strcmp(role, "flood") && count == 3) return flood(atoi(arguments[1]), atoi(arguments[2]));
  if (!strcmp(role, "fill") && count == 3) return fill(atoi(arguments[1]), atoi(arguments[2]));
  if (!strcmp(role, "spread") && count > 1) return spread(count - 1, arguments + 1);
  if (!strcmp(role, "ping") && count > 3)
    return ping(atoi(arguments[1]), atoi(arguments[2]), count - 3, arguments + 3);
  if (!strcmp(role, "flows") && count == 4)
    return flows(atoi(arguments[1]), atoi(arguments[2]), atof(arguments[3]));
  return 2;
}
