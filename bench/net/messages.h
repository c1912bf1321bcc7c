/* Messages of many datagrams: received with UDP_GRO, sent with UDP_SEGMENT (udp(7)). */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "reference.h"

/* Messages a receive: 256 KB, which stay in a processor's own cache; 32 take 3 times as long. */
#define MESSAGES 4
#define SLOT_BYTES 65536

struct offload_batch {
  struct mmsghdr messages[MESSAGES];
  struct iovec vectors[MESSAGES];
  struct sockaddr_in names[MESSAGES];
  char control[MESSAGES][CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
  char bytes[MESSAGES][SLOT_BYTES];
};

static inline void enable_gro(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on)) die("UDP_GRO");
}

/* A socket whose messages leave in datagrams of DATAGRAM_BYTES each. */
static inline int segmenting_socket(int port) {
  int fd = loopback_socket(port, 0), bytes = DATAGRAM_BYTES;
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof bytes)) die("UDP_SEGMENT");
  return fd;
}

/* How many messages came, without waiting; -1 for none. */
static inline int receive_messages(int fd, struct offload_batch *batch) {
  for (int m = 0; m < MESSAGES; m++) {
    batch->vectors[m] = (struct iovec){batch->bytes[m], SLOT_BYTES};
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

/* The length of all datagrams of message `m` but the last. */
static inline int message_stride(const struct offload_batch *batch, int m) {
  const struct msghdr *header = &batch->messages[m].msg_hdr;
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  int stride = (int)batch->messages[m].msg_len;
  if (control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
    memcpy(&stride, CMSG_DATA(control), sizeof stride);
  return stride > 0 ? stride : 1;
}

struct segment_control {
  struct cmsghdr header;
  unsigned short bytes;
  char padding[6];
};

/* A message of `length` bytes that leaves in segments of `bytes`. */
static inline void segmented_message(struct msghdr *message, struct segment_control *control,
                                     unsigned short bytes) {
  *control = (struct segment_control){
      {.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof bytes)},
      bytes,
      {0}};
  message->msg_control = control;
  message->msg_controllen = CMSG_SPACE(sizeof bytes);
}

#endif
