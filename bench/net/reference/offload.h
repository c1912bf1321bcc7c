/*
 * Messages of many datagrams: received with UDP_GRO, sent with UDP_SEGMENT (udp(7)). Inline, since
 * contenders use this in their timed loops.
 */
#ifndef OFFLOAD_H
#define OFFLOAD_H

#include "datagrams.h"
#include "measurement.h"
#include "sockets.h"
#include "support.h"
#include <string.h>
#include <sys/socket.h>

/* <linux/udp.h>. */
#define UDP_SEGMENT 103
#define UDP_GRO 104

/* The maximum length of a message: 65535 less the headers of IPv4 and UDP. */
#define MESSAGE_BYTES_MAX 65507
/* The number of datagrams per GSO message: as many as fit, at most 64. */
#define SEGMENTS                                                                                   \
  (MESSAGE_BYTES_MAX / DATAGRAM_BYTES > BATCH ? BATCH : MESSAGE_BYTES_MAX / DATAGRAM_BYTES)

/* Messages per receive: 256 KB, which fit in a processor's private cache. 32 are 3 times slower. */
#define MESSAGES 4
#define MESSAGE_CAPACITY 65536

struct gro_batch {
  struct mmsghdr messages[MESSAGES];
  struct iovec vectors[MESSAGES];
  struct sockaddr_in names[MESSAGES];
  char control[MESSAGES][CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
  char bytes[MESSAGES][MESSAGE_CAPACITY];
};

static inline void enable_gro(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on)) die("UDP_GRO");
}

/* Returns a socket that sends each message as datagrams of DATAGRAM_BYTES bytes to `port`. */
static inline int gso_socket(int port) {
  int fd = loopback_socket(port, 0), bytes = DATAGRAM_BYTES;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes)) die("UDP_SEGMENT");
  return fd;
}

/* Receives the available messages without blocking. Returns their number, or -1 if none. */
static inline int receive_gro(int fd, struct gro_batch *batch) {
  for (int m = 0; m < MESSAGES; m++) {
    batch->vectors[m] = (struct iovec){batch->bytes[m], MESSAGE_CAPACITY};
    batch->messages[m].msg_hdr = (struct msghdr){.msg_iov = &batch->vectors[m],
                                                 .msg_iovlen = 1,
                                                 .msg_name = &batch->names[m],
                                                 .msg_namelen = sizeof batch->names[m],
                                                 .msg_control = batch->control[m],
                                                 .msg_controllen = sizeof batch->control[m]};
  }
  calls_made++;
  return recvmmsg(fd, batch->messages, MESSAGES, MSG_DONTWAIT, NULL);
}

/* Returns the length of the datagrams of message `m`. The last one may be shorter. */
static inline int gro_stride(const struct gro_batch *batch, int m) {
  const struct msghdr *header = &batch->messages[m].msg_hdr;
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  int stride = (int)batch->messages[m].msg_len;
  if (control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
    memcpy(&stride, CMSG_DATA(control), sizeof stride);
  return stride > 0 ? stride : 1;
}

struct gso_control {
  struct cmsghdr header;
  unsigned short stride;
  char padding[6];
};

/* Makes `message` a GSO message: the kernel splits it into datagrams of `stride` bytes. */
static inline void set_gso(struct msghdr *message, struct gso_control *control,
                           unsigned short stride) {
  *control = (struct gso_control){
      {.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof stride)},
      stride,
      {0}};
  message->msg_control = control;
  message->msg_controllen = CMSG_SPACE(sizeof stride);
}

#endif
