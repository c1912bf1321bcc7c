/*
 * The C program of the network benchmarks. It generates the load for the contenders, checks what
 * they send, and takes part as a contender itself, to show what the kernel provides to a program
 * without a JavaScript runtime. Prints JSON objects, one per line.
 *
 *   reference flood|fill|spread|ping|flows ...  load for contenders (load.c)
 *   reference collect SOCKETS PREFIX_BYTES      receives and checks datagrams (collector.c)
 *   reference gauge                             measures the speed of the machine (gauge.c)
 *   reference clock PID                         prints the CPU time of a process (processors.c)
 *   reference on load|contender COMMAND...      runs a command on half of the processors
 *   reference plain|offload|separate ROLE ...   UDP contenders (udp-contender.c)
 *   reference unix ROLE ...                     Unix datagram contender (unix-contender.c)
 */
#include "processors.h"
#include "roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  int result = 2;
  if (!strcmp(role, "collect") && count == 4)
    result = run_collector(atoi(arguments[2]), atoi(arguments[3]));
  else if (!strcmp(role, "gauge") && count == 2) result = run_gauge();
  else if (!strcmp(role, "clock") && count == 3)
    result = print_processor_clock(atoi(arguments[2]));
  else if (!strcmp(role, "on") && count > 3) result = run_pinned(arguments[2], arguments + 3);
  else if (!strcmp(role, "plain") || !strcmp(role, "offload") || !strcmp(role, "separate"))
    result = run_udp_contender(count - 1, arguments + 1);
  else if (!strcmp(role, "unix")) result = run_unix_contender(count - 1, arguments + 1);
  else if (count > 1) result = run_load(count - 1, arguments + 1);
  if (result == 2) fprintf(stderr, "reference: unknown role or arguments\n");
  return result;
}
