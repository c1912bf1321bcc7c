/* What a contender transfers and uses during the timed part of its run. */
#include "measurement.h"
#include "support.h"
#include <stdio.h>
#include <unistd.h>

double calls_made;

/* Returns the resident memory: the second number of /proc/self/statm (proc(5)), in pages. */
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

int measurement_record(struct measurement *measurement, int datagrams, double seconds) {
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
