/*
 * Every entry of c/shim.c, called from C: results, error paths, faults that a kernel does not make
 * on request, and no descriptor left behind. For compilers with warnings and sanitizers, which
 * the TinyCC inside Bun has not.
 *
 * usage: shim-harness [rounds]   how often the helper thread is woken (default 2000)
 */

#include "harness.h"

#define EBADF 9
#define EPERM 1
#define EINVAL 22
#define ENOTSOCK 88
#define EMSGSIZE 90
#define EADDRINUSE 98
#define EAFNOSUPPORT 97
#define ENOPROTOOPT 92
#define ENOTCONN 107
#define ECONNREFUSED 111
#define ENOMEM 12
#define EMFILE 24
#define SOL_SOCKET 1
#define SO_TYPE 3
#define SO_SNDBUF 7
#define F_GETFD 1
#define POLLIN 1
#define POLLOUT 4
#define BATCH_MAX 1024

struct unix_address {
  unsigned short family;
  char path[108];
};

static int rounds = 2000;

static struct mmsghdr messages[BATCH_MAX];
static struct iovec vectors[BATCH_MAX];
static u8 bytes[BATCH_MAX][64];
static u8 names[BATCH_MAX][112];

/* One buffer of `length` bytes for each message, and room for a name. */
static void prepare(u32 count, u64 length, u32 name_capacity) {
  memset(messages, 0, sizeof messages);
  for (u32 i = 0; i < count; i++) {
    vectors[i].base = bytes[i];
    vectors[i].length = length;
    messages[i].header.vector = &vectors[i];
    messages[i].header.vector_length = 1;
    messages[i].header.name = name_capacity ? names[i] : 0;
    messages[i].header.name_length = name_capacity;
  }
}

/* A UDP socket on loopback; its address goes to `address`. */
static int open_udp(struct inet_address *address) {
  int fd = socket_open(AF_INET, SOCK_DGRAM, 0);
  *address = (struct inet_address){AF_INET, 0, 0x0100007f, {0}};
  IS(socket_bind(fd, address, sizeof *address), 0);
  IS(socket_name(fd, address, sizeof *address), sizeof *address);
  return fd;
}

static void pair_open(int *left, int *right, int type) {
  int fds[2];
  IS(socket_pair(AF_UNIX, type, fds), 0);
  *left = fds[0];
  *right = fds[1];
}

static void send_one(int fd) {
  prepare(1, 8, 0);
  IS(batch_send(fd, messages, 1), 1);
}

static int drain(int fd) {
  int count = 0;
  prepare(1, 8, 0);
  while (batch_receive(fd, messages, 1, 0, 0, 0) == 1) count++;
  return count;
}

/* --------------------------------------------------------------------------- batches ---- */

static void batches(void) {
  struct inet_address here;
  int receiver = open_udp(&here);
  int sender = socket_open(AF_INET, SOCK_DGRAM, 0);
  IS(batch_receive(receiver, messages, 0, 0, 0, 0), 0);
  IS(batch_send(sender, messages, 0), 0);
  prepare(1, 64, 16);
  IS(batch_receive(receiver, messages, 1, 16, 0, 0), -EAGAIN);
  for (u32 count = 1; count <= 64; count *= 2) {
    prepare(count, 4, 16);
    for (u32 i = 0; i < count; i++) {
      memcpy(names[i], &here, sizeof here);
      memset(bytes[i], (int)i, 4);
    }
    IS(batch_send(sender, messages, count), count);
    prepare(BATCH_MAX, 64, 16);
    memset(bytes, 0xff, sizeof bytes);
    IS(batch_receive(receiver, messages, BATCH_MAX, 16, 0, 0), count);
    for (u32 i = 0; i < count; i++) {
      IS(messages[i].length, 4);
      IS(messages[i].header.name_length, 16);
      IS(bytes[i][0], i);
      IS(bytes[i][4], 0xff);
    }
  }
  IS(descriptor_close(receiver), 0);
  IS(descriptor_close(sender), 0);
}

static void fields_in_and_out(void) {
  int left, right;
  struct unix_address name = {AF_UNIX, "\0shim-harness-a-name-that-is-long"};
  pair_open(&left, &right, SOCK_DGRAM);
  IS(socket_bind(left, &name, 2 + 30), 0);
  for (int round = 0; round < 3; round++) {
    prepare(1, 48, 0);
    IS(batch_send(left, messages, 1), 1);
    prepare(1, 10, 16);
    /* What an earlier call would have left. */
    messages[0].header.name_length = round ? 0 : 110;
    messages[0].header.control_length = 999;
    messages[0].header.flags = ~0u;
    memset(names, 0xaa, sizeof names);
    IS(batch_receive(right, messages, 1, 16, 0, 0), 1);
    IS(messages[0].length, 48);
    IS(messages[0].header.flags & MSG_TRUNC, MSG_TRUNC);
    IS(messages[0].header.flags & ~MSG_TRUNC, 0);
    IS(messages[0].header.name_length, 32);
    IS(messages[0].header.control_length, 0);
    IS(memcmp(names[0], &name, 16), 0);
#ifndef EMULATED /* qemu writes the whole name, whatever the room */
    IS(names[0][16], 0xaa);
#endif
  }
  descriptor_close(left);
  descriptor_close(right);
}

static void batch_errors(void) {
  int left, right;
  prepare(2, 8, 0);
  IS(batch_receive(-1, messages, 1, 0, 0, 0), -EBADF);
  IS(batch_send(-1, messages, 1), -EBADF);
  int epoll = real_epoll_create1(EPOLL_CLOEXEC);
  IS(batch_receive(epoll, messages, 1, 0, 0, 0), -ENOTSOCK);
  IS(batch_send(epoll, messages, 1), -ENOTSOCK);
  close(epoll);
  pair_open(&left, &right, SOCK_DGRAM);
  /* The second is too long: one went, and the next call tells. */
  static u8 long_one[1 << 20];
  vectors[1].base = long_one;
  vectors[1].length = sizeof long_one;
  IS(batch_send(left, messages, 2), 1);
  IS(batch_send(left, messages + 1, 1), -EMSGSIZE);
  prepare(1, 8, 0);
  while (batch_send(left, messages, 1) == 1);
  IS(batch_send(left, messages, 1), -EAGAIN);
  descriptor_close(right);
  IS(batch_send(left, messages, 1), -ECONNREFUSED);
  descriptor_close(left);
}

static void interrupted_calls(void) {
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  prepare(1, 8, 0);
  inject(AT_SYSCALL, 0, 3, EINTR);
  IS(batch_send(left, messages, 1), 1);
  IS(faults[AT_SYSCALL].calls, 4);
  inject(AT_SYSCALL, 0, 3, EINTR);
  IS(batch_receive(right, messages, 1, 0, 0, 0), 1);
  IS(faults[AT_SYSCALL].calls, 4);
  inject(AT_SYSCALL, 0, 1000, EINTR);
  IS(batch_send(left, messages, 1), -EINTR);
  IS(faults[AT_SYSCALL].calls, EINTR_RETRIES_MAX);
  inject(AT_SYSCALL, 0, 1000, EINTR);
  IS(batch_receive(left, messages, 1, 0, 0, 0), -EINTR);
  IS(faults[AT_SYSCALL].calls, EINTR_RETRIES_MAX);
  struct inet_address here;
  int fd = open_udp(&here);
  inject(AT_CONNECT, 0, 2, EINTR);
  IS(socket_connect(fd, &here, sizeof here), 0);
  IS(faults[AT_CONNECT].calls, 3);
  inject(AT_CONNECT, 0, 1000, EINTR);
  IS(socket_connect(fd, &here, sizeof here), -EINTR);
  IS(faults[AT_CONNECT].calls, EINTR_RETRIES_MAX);
  descriptor_close(fd);
  descriptor_close(left);
  descriptor_close(right);
}

/* --------------------------------------------------------------------------- sockets ---- */

static void sockets_and_descriptors(void) {
  struct inet_address here, peer;
  int fd = open_udp(&here);
  TRUE(descriptor_flags(fd) & O_NONBLOCK);
  IS(fcntl(fd, F_GETFD), 1);
  IS(socket_open(12345, SOCK_DGRAM, 0), -EAFNOSUPPORT);
  IS(socket_bind(-1, &here, sizeof here), -EBADF);
  int other = socket_open(AF_INET, SOCK_DGRAM, 0);
  IS(socket_bind(other, &here, sizeof here), -EADDRINUSE);
  IS(socket_peer_name(other, &peer, sizeof peer), -ENOTCONN);
  IS(socket_connect(other, &here, sizeof here), 0);
  memset(&peer, 0, sizeof peer);
  IS(socket_peer_name(other, &peer, sizeof peer), sizeof peer);
  IS(memcmp(&peer, &here, sizeof peer), 0);
  IS(socket_name(-1, &peer, sizeof peer), -EBADF);
  i32 value = 20000;
  IS(option_set(fd, SOL_SOCKET, SO_SNDBUF, &value, 4), 0);
  value = 0;
  IS(option_get(fd, SOL_SOCKET, SO_TYPE, &value, 4), 4);
  IS(value, SOCK_DGRAM);
  IS(option_set(fd, SOL_SOCKET, 9999, &value, 4), -ENOPROTOOPT);
  IS(option_get(fd, SOL_SOCKET, 9999, &value, 4), -ENOPROTOOPT);
  int duplicate = descriptor_duplicate(fd);
  TRUE(duplicate > fd);
  IS(fcntl(duplicate, F_GETFD), 1);
  IS(fcntl(duplicate, F_SETFL, 0), 0);
  IS(descriptor_flags(fd) & O_NONBLOCK, 0);
  IS(descriptor_set_nonblocking(duplicate), 0);
  TRUE(descriptor_flags(fd) & O_NONBLOCK);
  IS(descriptor_close(duplicate), 0);
  IS(descriptor_close(duplicate), -EBADF);
  IS(descriptor_flags(duplicate), -EBADF);
  IS(descriptor_set_nonblocking(duplicate), -EBADF);
  IS(descriptor_duplicate(duplicate), -EBADF);
  descriptor_close(fd);
  descriptor_close(other);
}

/* What the shim opened is closed with the heap, but for what was handed over or closed before. */
static void descriptors_are_owned(void) {
  int before = descriptors_open(), pair[2];
  int kept = socket_open(AF_INET, SOCK_DGRAM, 0);
  IS(socket_pair(AF_UNIX, SOCK_DGRAM, pair), 0);
  int duplicate = descriptor_duplicate(kept);
  int adopted = fcntl(kept, F_DUPFD_CLOEXEC, 0);
  descriptor_own(adopted);
  IS(descriptor_close(pair[0]), 0);
  descriptor_disown(kept);
  /* Neither is a descriptor that can be owned. */
  descriptor_own(-1);
  descriptor_own(OWNED_MAX);
  descriptors_close(descriptors_owned(), 0);
  IS(descriptors_open(), before + 1);
  IS(descriptor_flags(pair[1]), -EBADF);
  IS(descriptor_flags(duplicate), -EBADF);
  IS(descriptor_flags(adopted), -EBADF);
  TRUE(descriptor_flags(kept) >= 0);
  close(kept);
  descriptors_close(descriptors_owned(), 0);
  IS(descriptors_open(), before);
}

/* ----------------------------------------------------------------------------- offload ---- */

/* The kernel of whoever runs this has both; faults stand for those that have not. */
static void offload_probed(void) {
#ifndef EMULATED /* qemu hands on no control message that it does not know */
  IS(offload_probe(), 2);
  inject(AT_SYSCALL, 2, 1, EINVAL);
  IS(offload_probe(), 1);
  inject(AT_SYSCALL, 3, 1, EAGAIN);
  IS(offload_probe(), 1);
#endif
  inject(AT_SYSCALL, 0, 1, EINVAL);
  IS(offload_probe(), 0);
  inject(AT_CONNECT, 0, 1, EPERM);
  IS(offload_probe(), 0);
}

/* Sockets that go nowhere, that do not coalesce, that had something else, that do not segment. */
static void segments_that_do_not_pass(void) {
  struct inet_address here;
  int receiver = open_udp(&here), sender = socket_open(AF_INET, SOCK_DGRAM, 0);
  IS(segments_pass(sender, receiver, PROBE_DATAGRAMS), 0);
  IS(socket_connect(sender, &here, sizeof here), 0);
#ifndef EMULATED
  IS(segments_pass(sender, receiver, PROBE_DATAGRAMS), 1);
  IS(segments_pass(sender, receiver, 1), 0);
  drain(receiver);
  /* Another's datagram in front. */
  send_one(sender);
  IS(segments_pass(sender, receiver, PROBE_DATAGRAMS), 0);
  drain(receiver);
#endif
  int pair[2];
  IS(socket_pair(AF_UNIX, SOCK_DGRAM, pair), 0);
  IS(segments_pass(pair[0], pair[1], 1), 0);
  for (int i = 0; i < 2; i++) descriptor_close(pair[i]);
  descriptor_close(receiver);
  descriptor_close(sender);
}

static void clocks(void) {
  const int monotonic = 1;
  long long before[2], read[2], after[2];
  IS(clock_gettime(monotonic, before), 0);
  IS(clock_read(monotonic, read), 0);
  IS(clock_gettime(monotonic, after), 0);
  long long times[3] = {before[0] * 1000000000 + before[1], read[0] * 1000000000 + read[1],
                        after[0] * 1000000000 + after[1]};
  TRUE(times[0] <= times[1] && times[1] <= times[2]);
  IS(clock_read(12345, read), -EINVAL);
}

static void table_of_entries(void) {
  u32 count = sizeof entries / sizeof entries[0];
  IS(((int (*)(void))shim_entry(0))(), SHIM_ABI);
  for (u32 i = 0; i < count; i++) TRUE(shim_entry(i) != 0);
  TRUE(shim_entry(count) == 0);
  TRUE(shim_entry(~0u) == 0);
  IS(poller_bytes(), sizeof(struct poller));
}

#include "readiness.h"

int main(int count, char **arguments) {
  if (count > 1) rounds = atoi(arguments[1]);
  run_section("batches", batches);
  run_section("fields in and out", fields_in_and_out);
  run_section("batch errors", batch_errors);
  run_section("interrupted calls", interrupted_calls);
  run_section("sockets and descriptors", sockets_and_descriptors);
  run_section("descriptors owned", descriptors_are_owned);
  run_section("offload probed", offload_probed);
  run_section("segments that do not pass", segments_that_do_not_pass);
  run_section("clocks", clocks);
  run_section("table of entries", table_of_entries);
  run_readiness();
  printf("%d passed, %d failed\n", checks_passed, checks_failed);
  return checks_failed != 0;
}
