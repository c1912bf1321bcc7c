/* Helpers for all files: errors, the clock, statistics. */
#ifndef SUPPORT_H
#define SUPPORT_H

/* Prints `what` and the text of errno, and exits. */
void die(const char *what);

/* Returns the monotonic time in microseconds. */
double now_us(void);

/* Sorts `values` in ascending order. */
void sort(double *values, int count);

/* Sorts `values`, and returns the middle one, or the upper of the two middle ones. */
double median(double *values, int count);

#endif
