/*
 * What contenders are loaded with.
 *
 *   reference flood PORT SOCKETS             sends by GSO as fast as it can, until it is killed
 *   reference fill PORT MESSAGES             sends that many messages by GSO
 *   reference spread PORT...                 sends one datagram a port in turn, until it is killed
 *   reference ping COUNT GAP_US PORT...      round trips, one at a time, to one port after the other
 *   reference flows PORT FLOWS SECONDS       round trips, one at a time from each of many ports
 */
#include "messages.h"
#include "reference.h"
#include <errno.h>
#include <sys/epoll.h>

/* Nothing runs longer, should nobody be left to kill it. */
#define RUN_US_MAX 60e6
/* Answers that take longer are lost. */
#define ANSWER_US_MAX 1e5
#define FLOWS_MAX 4096
#define TRIPS_MAX 2000000
/* Round trips to one server, and to how many in turn. */
#define BLOCK 250
#define BLOCK_WARM_UP 50
#define SERVERS_MAX 16

/* Several sockets in turn are several flows, which a group of receivers shares (SO_REUSEPORT). */
static int flood(int port, int sockets) {
  int fds[BATCH];
  if (sockets < 1 || sockets > BATCH) return 2;
  for (int i = 0; i < sockets; i++) fds[i] = segmenting_socket(port);
  double end = now_us() + RUN_US_MAX;
  /* A receiver that is gone is no error here: whoever runs this kills it then. */
  for (int i = 0; now_us() < end; i = (i + 1) % sockets)
    send(fds[i], datagram(0), SEGMENTS * DATAGRAM_BYTES, 0);
  return 0;
}

static int fill(int port, int messages) {
  int fd = segmenting_socket(port);
  for (int i = 0; i < messages; i++)
    if (send(fd, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) < 0) die("send");
  return 0;
}

/* BATCH datagrams a call, so that the load is as fast as it can be without offload. */
static int spread(int count, char **ports) {
  static struct mmsghdr messages[BATCH];
  static struct iovec vectors[BATCH];
  struct sockaddr_in *names = calloc((size_t)count, sizeof *names);
  int fd = loopback_socket(0, 0);
  for (int i = 0; i < count; i++) {
    names[i].sin_family = AF_INET;
    names[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    names[i].sin_port = htons((unsigned short)atoi(ports[i]));
  }
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

/* What was asked of one server, or of all its flows: of `all` trips the last `done` were timed. */
struct trips {
  double *us, seconds;
  int all, done, lost;
};

static void print_trips(struct trips trips) {
  sort(trips.us, trips.done);
  if (trips.done == 0) exit(1);
  printf("{\"p50Us\":%.2f,\"p99Us\":%.2f,\"p999Us\":%.2f,", trips.us[trips.done / 2],
         trips.us[(long)trips.done * 99 / 100], trips.us[(long)trips.done * 999 / 1000]);
  printf("\"all\":%d,\"trips\":%d,\"lost\":%d,\"seconds\":%f}\n", trips.all, trips.done, trips.lost,
         trips.seconds);
}

/* Takes answers until that to the question is there, which is to be the same: whether it came. */
static int await_answer(int fd, const char *question) {
  char answer[DATAGRAM_BYTES + 1];
  for (;;) {
    ssize_t length = recv(fd, answer, sizeof answer, 0);
    if (length < 0) return 0;
    /* One that was given up may come later, and has another number. */
    if (length != DATAGRAM_BYTES || memcmp(answer + 4, question + 4, DATAGRAM_BYTES - 4)) {
      fprintf(stderr, "an answer is not what was asked\n");
      exit(1);
    }
    if (!memcmp(answer, question, 4)) return 1;
  }
}

/* `count` round trips that are timed, behind some that are not: others were asked meanwhile. */
static void ask_block(int fd, struct trips *trips, int count, int gap_us) {
  static int number;
  char question[DATAGRAM_BYTES];
  memcpy(question, datagram(1), sizeof question);
  double begin = now_us();
  for (int i = -BLOCK_WARM_UP; i < count; i++) {
    double start = now_us();
    if (i == 0) begin = start;
    number++;
    memcpy(question, &number, sizeof number);
    send(fd, question, sizeof question, 0);
    int is_answered = await_answer(fd, question);
    trips->all += is_answered;
    if (i >= 0 && is_answered) trips->us[trips->done++] = now_us() - start;
    if (i >= 0 && !is_answered) trips->lost++;
    if (gap_us) usleep((unsigned)gap_us);
  }
  trips->seconds += (now_us() - begin) / 1e6;
}

/* Servers are asked in turn, so that a slow spell of the machine is one for all of them. */
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
  for (int asked = 0; asked < count; asked += BLOCK) {
    int block = count - asked < BLOCK ? count - asked : BLOCK;
    for (int s = 0; s < servers; s++) ask_block(fds[s], &trips[s], block, gap_us);
  }
  for (int s = 0; s < servers; s++) print_trips(trips[s]);
  return 0;
}

static struct flow {
  int fd;
  double sent_us;
} flow_table[FLOWS_MAX];

static void ask(struct flow *flow) {
  flow->sent_us = now_us();
  /* One that finds the queue full is lost on the way, which is told by its missing answer. */
  send(flow->fd, datagram(1), DATAGRAM_BYTES, 0);
}

/* Each flow asks again when it was answered; one that waits too long lost a datagram. */
static int flows(int port, int count, double seconds) {
  if (count < 1 || count > FLOWS_MAX) return 2;
  static struct epoll_event events[BATCH];
  char answer[DATAGRAM_BYTES + 1];
  int poller = epoll_create1(0);
  struct trips trips = {.us = calloc(TRIPS_MAX, sizeof *trips.us), .seconds = seconds};
  for (int i = 0; i < count; i++) {
    flow_table[i].fd = loopback_socket(port, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (unsigned)i};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, flow_table[i].fd, &event)) die("epoll_ctl");
  }
  for (int i = 0; i < count; i++) ask(&flow_table[i]);
  double begin = now_us() + WARM_UP_US, end = begin + seconds * 1e6, swept = begin, now;
  while ((now = now_us()) < end) {
    int ready = epoll_wait(poller, events, BATCH, 10);
    for (int e = 0; e < ready; e++) {
      struct flow *flow = &flow_table[events[e].data.u32];
      if (recv(flow->fd, answer, sizeof answer, MSG_DONTWAIT) < 0) continue;
      if (check_datagram(answer, DATAGRAM_BYTES, 0, 1) != 1) die("an answer");
      double trip_us = now_us() - flow->sent_us;
      trips.all++;
      if (now >= begin && trips.done < TRIPS_MAX) trips.us[trips.done++] = trip_us;
      ask(flow);
    }
    if (now < swept + ANSWER_US_MAX) continue;
    swept = now;
    for (int i = 0; i < count; i++) {
      if (now - flow_table[i].sent_us < ANSWER_US_MAX) continue;
      trips.lost++;
      ask(&flow_table[i]);
    }
  }
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
