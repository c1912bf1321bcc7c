/*
 * The load and the limit of the network benchmarks, in C: what the kernel gives to a program that
 * does nothing else. Prints one JSON object a line.
 *
 *   reference flood|fill|ping|flows|spread ...  loads for contenders (load.c)
 *   reference collect SOCKETS PREFIX_BYTES      receives and checks what is sent (collect.c)
 *   reference gauge                             how fast the machine is right now (gauge.c)
 *   reference clock PID                         what a process has used of processors
 *   reference on load|contender COMMAND...      runs a command on its half of the processors
 *   reference plain|offload ROLE ...            contenders in the roles of peers/ (contender.c)
 *   reference unix ROLE ...                     the same for Unix datagrams (unix.c)
 */
#include "reference.h"
#include <sched.h>

double calls_made;

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
  if (fd < 0) die("socket");
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

void check_received(const char *bytes, int length) {
  static int left = CHECKED;
  if (left == 0) return;
  left--;
  if (check_datagram(bytes, length, 0, 0) >= 0) return;
  fprintf(stderr, "received %d bytes that nobody sent\n", length);
  exit(1);
}

/* ---------------------------------------------------------------------- measurements ---- */

/* Bytes of memory in use, as /proc/self/statm (proc(5)) tells: its second number, in pages. */
static double resident_bytes(void) {
  double pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%*f %lf", &pages) != 1) pages = 0;
  fclose(file);
  return pages * (double)sysconf(_SC_PAGESIZE);
}

void measurement_start(struct measurement *measurement) {
  measurement->resident = resident_bytes();
  measurement->datagrams = 0;
  measurement->calls = calls_made;
  measurement->seconds = measurement->user_seconds = measurement->system_seconds = 0;
  measurement_resume(measurement);
}

void measurement_resume(struct measurement *measurement) {
  getrusage(RUSAGE_SELF, &measurement->before);
  measurement->start_us = now_us();
}

static double seconds_between(struct timeval from, struct timeval to) {
  return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_usec - from.tv_usec) / 1e6;
}

void measurement_pause(struct measurement *measurement) {
  struct rusage after;
  measurement->seconds += (now_us() - measurement->start_us) / 1e6;
  getrusage(RUSAGE_SELF, &after);
  measurement->user_seconds += seconds_between(measurement->before.ru_utime, after.ru_utime);
  measurement->system_seconds += seconds_between(measurement->before.ru_stime, after.ru_stime);
}

void measurement_print(const struct measurement *measurement) {
  printf("{\"datagrams\":%.0f,\"total\":%.0f,\"calls\":%.0f,\"seconds\":%f,\"userSeconds\":%f,"
         "\"systemSeconds\":%f,\"memoryGrowthBytes\":%.0f}\n",
         measurement->datagrams, measurement->total, calls_made - measurement->calls,
         measurement->seconds, measurement->user_seconds, measurement->system_seconds,
         resident_bytes() - measurement->resident);
  fflush(stdout);
}

int measurement_count(struct measurement *measurement, int datagrams, double seconds) {
  static double warm_us = 0;
  double now = now_us();
  measurement->total += datagrams;
  measurement->datagrams += datagrams;
  if (warm_us == 0) warm_us = now + WARM_UP_US;
  if (measurement->start_us == 0) {
    if (now >= warm_us) measurement_start(measurement);
    return 0;
  }
  if (now < measurement->start_us + seconds * 1e6) return 0;
  measurement_pause(measurement);
  measurement_print(measurement);
  return 1;
}

/* ----------------------------------------------------------------------------- roles ---- */

void pin(const char *half) {
  /* Those before the first call, which may be followed by one for the other half. */
  static cpu_set_t all;
  cpu_set_t chosen;
  if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all)) die("sched_getaffinity");
  int total = CPU_COUNT(&all), is_load = !strcmp(half, "load");
  CPU_ZERO(&chosen);
  for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && (seen++ < total / 2) == is_load) CPU_SET(cpu, &chosen);
  if (total > 1 && sched_setaffinity(0, sizeof chosen, &chosen)) die("sched_setaffinity");
}

/* What a process has used, exactly and of all its threads: proc(5) has it in ticks of 10 ms. */
static int print_processor_clock(pid_t pid) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time)) die("clock of a process");
  printf("{\"cpuUs\":%.1f}\n", (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3);
  return 0;
}

static int run_on(const char *half, char **command) {
  pin(half);
  execvp(command[0], command);
  die(command[0]);
  return 1;
}

int main(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  int result = 2;
  if (!strcmp(role, "collect") && count == 4)
    result = collect(atoi(arguments[2]), atoi(arguments[3]));
  else if (!strcmp(role, "gauge") && count == 2) result = gauge();
  else if (!strcmp(role, "clock") && count == 3)
    result = print_processor_clock(atoi(arguments[2]));
  else if (!strcmp(role, "on") && count > 3) result = run_on(arguments[2], arguments + 3);
  else if (!strcmp(role, "plain") || !strcmp(role, "offload"))
    result = run_contender(count - 1, arguments + 1);
  else if (!strcmp(role, "unix")) result = run_unix(count - 1, arguments + 1);
  else if (count > 1) result = run_load(count - 1, arguments + 1);
  if (result == 2) fprintf(stderr, "reference: unknown role or arguments\n");
  return result;
}
