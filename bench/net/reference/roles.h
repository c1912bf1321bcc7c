/*
 * The roles of this program, one file each. `arguments` begins with the name of the role. All
 * return the exit code of the program: 2 if an argument is not valid.
 */
#ifndef ROLES_H
#define ROLES_H

int run_udp_contender(int count, char **arguments);
int run_unix_contender(int count, char **arguments);
int run_load(int count, char **arguments);
int run_collector(int sockets, int prefix_bytes);
int run_gauge(void);

#endif
