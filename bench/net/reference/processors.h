/* Which processors a process runs on, and how much of their time it has used. */
#ifndef PROCESSORS_H
#define PROCESSORS_H

#include <sys/types.h>

/*
 * Restricts this process to one half of the processors that it was started on: "load" or
 * "contender". Does nothing if there is only one processor.
 *
 * Without this, the scheduler would at times run the receiver on the sender's processor, and the
 * benchmark would measure that decision.
 */
void pin(const char *half);

/* Replaces this program by `command`, on one half of the processors. */
int run_pinned(const char *half, char **command);

/* Prints the CPU time of a process as a JSON object. */
int print_processor_clock(pid_t pid);

#endif
