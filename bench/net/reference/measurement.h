/* What a contender transfers and uses during the timed part of its run. */
#ifndef MEASUREMENT_H
#define MEASUREMENT_H

#include <sys/resource.h>

/* How long a contender runs before it is timed, as in ../peers/meter.ts. */
#define WARM_UP_US 3e5

/* Time, CPU time, memory growth, datagrams and system calls, except while paused. */
struct measurement {
  double start_us, datagrams, calls, total, resident;
  double seconds, user_seconds, system_seconds;
  struct rusage before;
};

/* The number of system calls of this process that sent or received. */
extern double calls_made;

void measurement_start(struct measurement *measurement);
void measurement_resume(struct measurement *measurement);
void measurement_pause(struct measurement *measurement);

/* Prints a paused measurement as a JSON object. */
void measurement_print(const struct measurement *measurement);

/*
 * Records `datagrams` transferred datagrams, and starts the measurement after the warm-up. Once it
 * has lasted `seconds`, prints it and returns 1, otherwise returns 0.
 */
int measurement_record(struct measurement *measurement, int datagrams, double seconds);

#endif
