/*
 * The load and the limit of the network benchmarks, in C: what the kernel gives to a program that
 * does nothing else. Prints one JSON object a line.
 *
 *   reference flood PORT BYTES SECONDS    sends by GSO as fast as it can
 *   reference sink SECONDS                receives by recvmmsg of 64, after the first datagram
 *   reference ping PORT COUNT GAP_US      round trips, one at a time
 *   reference echo                        answers until it is killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UDP_SEGMENT 103
#define BATCH 64
#define BYTES_MAX 2048

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static double seconds_of(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int loopback_socket(int port, int connect_to) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (void *)&address, sizeof address)) die("bind");
  address.sin_port = htons((unsigned short)connect_to);
  if (connect_to && connect(fd, (void *)&address, sizeof address)) die("connect");
  return fd;
}

static void print_port(int fd) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  getsockname(fd, (void *)&address, &length);
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
}

static int flood(int port, int bytes, double seconds) {
  int fd = loopback_socket(0, port);
  static char data[65507];
  int segments = (int)sizeof data / bytes > BATCH ? BATCH : (int)sizeof data / bytes;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes)) die("UDP_SEGMENT");
  double end = now_us() + seconds * 1e6, sent = 0;
  while (now_us() < end)
    if (send(fd, data, (size_t)(segments * bytes), 0) > 0) sent += segments;
  printf("{\"datagrams\":%.0f}\n", sent);
  return 0;
}

struct batch {
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  struct sockaddr_in names[BATCH];
  char bytes[BATCH][BYTES_MAX];
};

static void batch_reset(struct batch *batch, int count) {
  for (int i = 0; i < count; i++) {
    batch->vectors[i] = (struct iovec){batch->bytes[i], BYTES_MAX};
    batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = &batch->vectors[i],
                                                 .msg_iovlen = 1,
                                                 .msg_name = &batch->names[i],
                                                 .msg_namelen = sizeof batch->names[i]};
  }
}

static int sink(double seconds) {
  static struct batch batch;
  int fd = loopback_socket(0, 0);
  print_port(fd);
  double datagrams = 0, calls = 0, start = 0, end = 0;
  struct rusage before = {0}, after;
  struct pollfd ready = {fd, POLLIN, 0};
  while (start == 0 || now_us() < end) {
    batch_reset(&batch, BATCH);
    int count = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
    calls++;
    if (count < 0) {
      if (poll(&ready, 1, 1000) == 0 && start > 0) break;
      continue;
    }
    if (start == 0) {
      start = now_us();
      end = start + seconds * 1e6;
      getrusage(RUSAGE_SELF, &before);
    }
    datagrams += count;
  }
  double elapsed = (now_us() - start) / 1e6;
  getrusage(RUSAGE_SELF, &after);
  printf("{\"datagrams\":%.0f,\"calls\":%.0f,\"seconds\":%f,\"userSeconds\":%f,"
         "\"systemSeconds\":%f}\n",
         datagrams, calls, elapsed, seconds_of(after.ru_utime) - seconds_of(before.ru_utime),
         seconds_of(after.ru_stime) - seconds_of(before.ru_stime));
  return 0;
}

static int by_value(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return difference < 0 ? -1 : difference > 0;
}

static int ping(int port, int count, int gap_us) {
  int fd = loopback_socket(0, port);
  struct timeval timeout = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  char data[1200] = {0};
  double *trips = calloc((size_t)count, sizeof *trips);
  int lost = 0, done = 0;
  for (int i = 0; i < count; i++) {
    double start = now_us();
    memcpy(data, &i, sizeof i);
    send(fd, data, sizeof data, 0);
    int answer = -1;
    while (answer != i) {
      if (recv(fd, data, sizeof data, 0) < 0) break;
      memcpy(&answer, data, sizeof answer);
    }
    if (answer == i) trips[done++] = now_us() - start;
    else lost++;
    if (gap_us) usleep((unsigned)gap_us);
  }
  qsort(trips, (size_t)done, sizeof *trips, by_value);
  if (done == 0) return 1;
  printf("{\"p50Us\":%.2f,\"p99Us\":%.2f,\"p999Us\":%.2f,\"lost\":%d}\n", trips[done / 2],
         trips[done * 99 / 100], trips[(long)done * 999 / 1000], lost);
  return 0;
}

static int echo(void) {
  static struct batch batch;
  int fd = loopback_socket(0, 0);
  print_port(fd);
  struct pollfd ready = {fd, POLLIN, 0};
  for (;;) {
    batch_reset(&batch, BATCH);
    int count = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
      poll(&ready, 1, -1);
      continue;
    }
    for (int i = 0; i < count; i++) batch.vectors[i].iov_len = batch.messages[i].msg_len;
    sendmmsg(fd, batch.messages, (unsigned)count, 0);
  }
}

int main(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  if (!strcmp(role, "flood") && count == 5)
    return flood(atoi(arguments[2]), atoi(arguments[3]), atof(arguments[4]));
  if (!strcmp(role, "sink") && count == 3) return sink(atof(arguments[2]));
  if (!strcmp(role, "ping") && count == 5)
    return ping(atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4]));
  if (!strcmp(role, "echo") && count == 2) return echo();
  fprintf(stderr, "usage: reference flood|sink|ping|echo ...\n");
  return 2;
}
