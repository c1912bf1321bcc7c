/* UDP sockets on 127.0.0.1. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <netinet/in.h>

/* Returns the address of `port` on 127.0.0.1. */
struct sockaddr_in loopback_address(int port);

/*
 * Returns a socket bound to a free port, connected to port `connect_to` unless that is 0.
 * `receive_bytes` is the value for SO_RCVBUF, 0 for the system default.
 */
int loopback_socket(int connect_to, int receive_bytes);

/* Raises the limit of open descriptors as far as permitted. */
void allow_many_descriptors(void);

/* Returns the port that a socket is bound to. */
int port_of(int fd);

/* Prints that port as a JSON object. */
void print_port(int fd);

#endif
