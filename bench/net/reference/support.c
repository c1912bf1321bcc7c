/* Helpers for all files: errors, the clock, statistics. */
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

double median(double *values, int count) {
  sort(values, count);
  return values[count / 2];
}
