/* Which processors a process runs on, and how much of their time it has used. */
#include "processors.h"
#include "support.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void pin(const char *half) {
  /* The processors before the first call: a second call may choose the other half. */
  static cpu_set_t all;
  cpu_set_t chosen;
  if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all)) die("sched_getaffinity");
  int total = CPU_COUNT(&all), is_load = !strcmp(half, "load");
  CPU_ZERO(&chosen);
  for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && (seen++ < total / 2) == is_load) CPU_SET(cpu, &chosen);
  if (total > 1 && sched_setaffinity(0, sizeof chosen, &chosen)) die("sched_setaffinity");
}

int run_pinned(const char *half, char **command) {
  pin(half);
  execvp(command[0], command);
  die(command[0]);
  return 1;
}

/* Includes all threads, in nanoseconds: /proc/PID/stat counts in ticks of 10 ms (proc(5)). */
int print_processor_clock(pid_t pid) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time)) die("clock of a process");
  printf("{\"cpuUs\":%.1f}\n", (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3);
  return 0;
}
