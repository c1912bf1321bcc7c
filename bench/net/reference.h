/*
 * What the C programs of the network benchmarks share: sockets on loopback, clocks, the datagrams
 * that are sent and how one is checked.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* <linux/udp.h>. */
#define UDP_SEGMENT 103
#define UDP_GRO 104

/* Datagrams a batch, and as many different ones there are. */
#define BATCH 64
/* The caller says how long they are (-DDATAGRAM_BYTES=1200). */
#ifndef DATAGRAM_BYTES
#define DATAGRAM_BYTES 1200
#endif
/* 65535 less the headers of IPv4 and UDP. */
#define MESSAGE_BYTES_MAX 65507
/* What a message of one size can carry: as many as fit, 64 at most. */
#define SEGMENTS                                                                                   \
  (MESSAGE_BYTES_MAX / DATAGRAM_BYTES > BATCH ? BATCH : MESSAGE_BYTES_MAX / DATAGRAM_BYTES)

/* What a relay puts in front of each. */
#define PREFIX_BYTES 8

/* How long everybody runs before being timed, as in peers/meter.ts. */
#define WARM_UP_US 3e5
/* Datagrams that are looked at before anything is timed, as in peers/meter.ts. */
#define CHECKED 1000

void die(const char *what);
double now_us(void);
void sort(double *values, int count);

/*
 * Load and contender on processors of their own: a scheduler that wakes a receiver on the sender's
 * would measure itself. The halves, "load" and "contender", are of what this process may use; of
 * one processor alone there are none.
 */
void pin(const char *half);

/* On 127.0.0.1, connected to a port there unless that is 0. `receive_bytes`: 0 = default. */
int loopback_socket(int connect_to, int receive_bytes);
int port_of(int fd);
void print_port(int fd);

/* Datagram `i` of the batch; all 64 lie one behind the other. */
const char *datagram(int i);
const char *prefix(void);

/*
 * Whether `bytes` are a datagram of ours behind `prefix_bytes` of prefix, all of it or (`briefly`)
 * length, number and last byte: its number, or -1.
 */
int check_datagram(const char *bytes, int length, int prefix_bytes, int briefly);

/* Ends the program if one of the first CHECKED datagrams that a contender got is none of ours. */
void check_received(const char *bytes, int length);

/* What was used since it was started, less the time it was paused. */
struct measurement {
  double start_us, datagrams, calls, total, resident;
  double seconds, user_seconds, system_seconds;
  struct rusage before;
};
void measurement_start(struct measurement *measurement);
void measurement_resume(struct measurement *measurement);
void measurement_pause(struct measurement *measurement);
/* Of one that is paused: one JSON object with the counts. */
void measurement_print(const struct measurement *measurement);

/*
 * Counts what a contender received or sent, and times it once it is warm: whether the time is up,
 * and the result printed.
 */
int measurement_count(struct measurement *measurement, int datagrams, double seconds);

/* The system calls of this process that received or sent. */
extern double calls_made;

/* The roles of other files: each runs to its end. */
int run_contender(int count, char **arguments);
int run_unix(int count, char **arguments);
int run_load(int count, char **arguments);
int collect(int sockets, int prefix_bytes);
int gauge(void);

#endif
