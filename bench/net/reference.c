/*
 * The load and the limit of the network benchmarks, in C: what the kernel gives to a program that
 * does nothing else. Prints one JSON object a line.
 *
 * Tools:
 *   reference flood PORT SECONDS            sends by GSO as fast as it can
 *   reference fill PORT MESSAGES            sends that many messages by GSO
 *   reference ping PORT COUNT GAP_US        round trips, one at a time
 *   reference collect SOCKETS PREFIX_BYTES  receives and checks, until its standard input ends
 *   reference on load|contender COMMAND...  runs a command on its half of the processors
 *
 * Contenders (contender.c), which take the same roles as the programs in peers/:
 *   reference plain|offload ROLE ...
 */
#include "reference.h"
#include <sched.h>

void die(const char *what) {
  perror(what);
  exit(1);
}

double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_value(const void *left, const void *right) {
  double difference = *(const double *)left - *(const double *)right;
  return difference < 0 ? -1 : difference > 0;
}

void sort(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, by_value);
}

int loopback_socket(int connect_to, int receive_bytes) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (receive_bytes &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes))
    die("SO_RCVBUF");
  if (bind(fd, (void *)&address, sizeof address)) die("bind");
  address.sin_port = htons((unsigned short)connect_to);
  if (connect_to && connect(fd, (void *)&address, sizeof address)) die("connect");
  return fd;
}

int port_of(int fd) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  getsockname(fd, (void *)&address, &length);
  return ntohs(address.sin_port);
}

void print_port(int fd) {
  printf("{\"port\":%d}\n", port_of(fd));
  fflush(stdout);
}

/* ---------------------------------------------------------------------- the datagrams ---- */

static char datagrams[BATCH][DATAGRAM_BYTES];

const char *datagram(int i) {
  if (datagrams[1][0] == 0)
    for (int d = 0; d < BATCH; d++)
      for (int at = 0; at < DATAGRAM_BYTES; at++) datagrams[d][at] = (char)(d + 7 * at);
  return datagrams[i];
}

const char *prefix(void) {
  return "\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7";
}

int check_datagram(const char *bytes, int length, int prefix_bytes, int briefly) {
  if (length != DATAGRAM_BYTES + prefix_bytes) return -1;
  int i = bytes[prefix_bytes];
  if (i < 0 || i >= BATCH || bytes[length - 1] != datagram(i)[DATAGRAM_BYTES - 1]) return -1;
  if (briefly) return i;
  if (memcmp(bytes, prefix(), (size_t)prefix_bytes)) return -1;
  return memcmp(bytes + prefix_bytes, datagram(i), DATAGRAM_BYTES) ? -1 : i;
}

/* ---------------------------------------------------------------------- measurements ---- */

void measurement_start(struct measurement *measurement) {
  measurement->start_us = now_us();
  measurement->datagrams = measurement->calls = 0;
  getrusage(RUSAGE_SELF, &measurement->before);
}

static double seconds_between(struct timeval from, struct timeval to) {
  return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_usec - from.tv_usec) / 1e6;
}

void measurement_print(const struct measurement *measurement) {
  struct rusage after;
  double seconds = (now_us() - measurement->start_us) / 1e6;
  getrusage(RUSAGE_SELF, &after);
  printf("{\"datagrams\":%.0f,\"total\":%.0f,\"calls\":%.0f,\"seconds\":%f,\"userSeconds\":%f,"
         "\"systemSeconds\":%f}\n",
         measurement->datagrams, measurement->total, measurement->calls, seconds,
         seconds_between(measurement->before.ru_utime, after.ru_utime),
         seconds_between(measurement->before.ru_stime, after.ru_stime));
}

/* ----------------------------------------------------------------------------- tools ---- */

static int segmenting_socket(int port) {
  int fd = loopback_socket(port, 0), bytes = DATAGRAM_BYTES;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes)) die("UDP_SEGMENT");
  return fd;
}

static int flood(int port, double seconds) {
  int fd = segmenting_socket(port);
  double end = now_us() + seconds * 1e6, sent = 0;
  while (now_us() < end)
    if (send(fd, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) > 0) sent += SEGMENTS;
  printf("{\"datagrams\":%.0f}\n", sent);
  return 0;
}

static int fill(int port, int messages) {
  int fd = segmenting_socket(port);
  for (int i = 0; i < messages; i++)
    if (send(fd, datagram(0), SEGMENTS * DATAGRAM_BYTES, 0) < 0) die("send");
  return 0;
}

static int ping(int port, int count, int gap_us) {
  int fd = loopback_socket(port, 0);
  struct timeval timeout = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  char data[DATAGRAM_BYTES] = {0};
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
  sort(trips, done);
  if (done == 0) return 1;
  printf("{\"p50Us\":%.2f,\"p99Us\":%.2f,\"p999Us\":%.2f,\"lost\":%d}\n", trips[done / 2],
         trips[done * 99 / 100], trips[(long)done * 999 / 1000], lost);
  return 0;
}

/*
 * Load and contender on processors of their own: a scheduler that wakes a receiver on the sender's
 * would measure itself. The halves are of what this process may use; of one alone there are none.
 */
static int run_on(const char *half, char **command) {
  cpu_set_t all, chosen;
  if (sched_getaffinity(0, sizeof all, &all)) die("sched_getaffinity");
  int total = CPU_COUNT(&all), is_load = !strcmp(half, "load");
  CPU_ZERO(&chosen);
  for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && (seen++ < total / 2) == is_load) CPU_SET(cpu, &chosen);
  if (total > 1 && sched_setaffinity(0, sizeof chosen, &chosen)) die("sched_setaffinity");
  execvp(command[0], command);
  die(command[0]);
  return 1;
}

int main(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  if (!strcmp(role, "flood") && count == 4) return flood(atoi(arguments[2]), atof(arguments[3]));
  if (!strcmp(role, "fill") && count == 4) return fill(atoi(arguments[2]), atoi(arguments[3]));
  if (!strcmp(role, "ping") && count == 5)
    return ping(atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4]));
  if (!strcmp(role, "collect") && count == 4) return collect(atoi(arguments[2]), atoi(arguments[3]));
  if (!strcmp(role, "on") && count > 3) return run_on(arguments[2], arguments + 3);
  if (!strcmp(role, "plain") || !strcmp(role, "offload"))
    return run_contender(count - 1, arguments + 1);
  fprintf(stderr, "usage: reference flood|fill|ping|collect|plain|offload ...\n");
  return 2;
}
