/*
 * Tests of c/shim.c in C, compiled with warnings and sanitizers, which the TinyCC in Bun does not
 * have. Calls every entry, injects errors that cannot be provoked otherwise, and checks that no
 * descriptor leaks.
 *
 * usage: shim-harness [rounds]   the number of one-shot events per mode (default 2000)
 */

#include "harness.h"
#include <malloc.h>

#define EPERM 1
#define EACCES 13
#define EADDRNOTAVAIL 99
#define EINVAL 22
#define ENOTSOCK 88
#define EDESTADDRREQ 89
#define EMSGSIZE 90
#define EADDRINUSE 98
#define EAFNOSUPPORT 97
#define ENOPROTOOPT 92
#define ENOTCONN 107
#define ECONNREFUSED 111
#define SOL_SOCKET 1
#define SO_TYPE 3
#define SO_TIMESTAMPNS 35
#define IP_PKTINFO 8
#define MSG_CTRUNC 8
#define SO_SNDBUF 7
#define POLLIN 1
#define FD_CLOEXEC 1
#define O_ASYNC 020000
#define POLLOUT 4
#define BATCH_MAX 1024

extern unsigned alarm(unsigned seconds);

struct unix_address {
  unsigned short family;
  char path[108];
};

static int rounds = 2000;

static struct mmsghdr messages[BATCH_MAX];
static struct iovec vectors[BATCH_MAX];
static u8 bytes[BATCH_MAX][64];
static u8 names[BATCH_MAX][112];

/*
 * Prepares `count` messages with a buffer of `length` bytes each and, unless `name_capacity` is 0,
 * an address buffer.
 */
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

/* Returns a UDP socket that is bound to loopback, and stores its address. */
static int open_udp(struct inet_address *address) {
  int fd = socket_open(AF_INET, SOCK_DGRAM, 0);
  *address = (struct inet_address){AF_INET, 0, 0x0100007f, {0}};
  CHECK_EQ(socket_bind(fd, address, sizeof *address), 0);
  CHECK_EQ(socket_name(fd, address, sizeof *address), sizeof *address);
  return fd;
}

static void pair_open(int *left, int *right, int type) {
  int fds[2];
  CHECK_EQ(socket_pair(AF_UNIX, type, fds), 0);
  *left = fds[0];
  *right = fds[1];
}

#include "poller-fixture.h"

static void send_one(int fd) {
  prepare(1, 8, 0);
  CHECK_EQ(batch_send(fd, messages, 1), 1);
}

/* Receives all queued datagrams, and returns their number. */
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
  CHECK_EQ(batch_receive(receiver, messages, 0, 0, 0, 0), 0);
  CHECK_EQ(batch_send(sender, messages, 0), 0);
  prepare(1, 64, 16);
  CHECK_EQ(batch_receive(receiver, messages, 1, 16, 0, 0), -EAGAIN);
  for (u32 count = 1; count <= 64; count *= 2) {
    prepare(count, 4, 16);
    for (u32 i = 0; i < count; i++) {
      memcpy(names[i], &here, sizeof here);
      memset(bytes[i], (int)i, 4);
    }
    CHECK_EQ(batch_send(sender, messages, count), count);
    prepare(BATCH_MAX, 64, 16);
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ(batch_receive(receiver, messages, BATCH_MAX, 16, 0, 0), count);
    for (u32 i = 0; i < count; i++) {
      CHECK_EQ(messages[i].length, 4);
      CHECK_EQ(messages[i].header.name_length, 16);
      CHECK_EQ(bytes[i][0], i);
      CHECK_EQ(bytes[i][4], 0xff);
    }
  }
  CHECK_EQ(descriptor_close(receiver), 0);
  CHECK_EQ(descriptor_close(sender), 0);
}

static void in_out_header_fields(void) {
  int left, right;
  struct unix_address name = {AF_UNIX, "\0shim-harness-a-name-that-is-long"};
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(socket_bind(left, &name, 2 + 30), 0);
  for (int round = 0; round < 3; round++) {
    prepare(1, 48, 0);
    CHECK_EQ(batch_send(left, messages, 1), 1);
    prepare(1, 10, 16);
    /* Values that an earlier call could have left in the header. */
    messages[0].header.name_length = round ? 0 : 110;
    messages[0].header.control_length = 999;
    messages[0].header.flags = ~0u;
    memset(names, 0xaa, sizeof names);
    CHECK_EQ(batch_receive(right, messages, 1, 16, 0, 0), 1);
    CHECK_EQ(messages[0].length, 48);
    CHECK_EQ(messages[0].header.flags & MSG_TRUNC, MSG_TRUNC);
    CHECK_EQ(messages[0].header.flags & ~MSG_TRUNC, 0);
    CHECK_EQ(messages[0].header.name_length, 32);
    CHECK_EQ(messages[0].header.control_length, 0);
    CHECK_EQ(memcmp(names[0], &name, 16), 0);
#ifndef EMULATED /* qemu writes the whole address, also beyond the end of the buffer */
    CHECK_EQ(names[0][16], 0xaa);
#endif
  }
  descriptor_close(left);
  descriptor_close(right);
}

static void single_datagrams(void) {
  struct inet_address here;
  int receiver = open_udp(&here);
  int sender = socket_open(AF_INET, SOCK_DGRAM, 0);
  u8 text[64];
  for (int i = 0; i < 64; i++) text[i] = (u8)i;
  /* To an address, a part of the memory; then to the connected peer, also without any bytes. */
  CHECK_EQ(datagram_send(sender, text, 10, 20, &here, sizeof here), 0);
  CHECK_EQ(datagram_send(sender, text, 0, 64, text, 0), -EDESTADDRREQ);
  CHECK_EQ(socket_connect(sender, &here, sizeof here), 0);
  CHECK_EQ(datagram_send(sender, text, 60, 4, text, 0), 0);
  CHECK_EQ(datagram_send(sender, text, 64, 0, text, 0), 0);
  prepare(4, 64, 0);
  CHECK_EQ(batch_receive(receiver, messages, 4, 0, 0, 0), 3);
  CHECK_EQ(messages[0].length, 20);
  CHECK_EQ(memcmp(bytes[0], text + 10, 20), 0);
  CHECK_EQ(messages[1].length, 4);
  CHECK_EQ(bytes[1][3], 63);
  CHECK_EQ(messages[2].length, 0);
  descriptor_close(receiver);
  descriptor_close(sender);
  CHECK_EQ(datagram_send(-1, text, 0, 1, text, 0), -EBADF);
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  inject_fault(CALL_SYSCALL, 0, 3, EINTR);
  CHECK_EQ(datagram_send(left, text, 0, 8, text, 0), 0);
  CHECK_EQ(faults[CALL_SYSCALL].calls, 4);
  while (datagram_send(left, text, 0, 8, text, 0) == 0);
  CHECK_EQ(datagram_send(left, text, 0, 8, text, 0), -EAGAIN);
  descriptor_close(right);
  CHECK_EQ(datagram_send(left, text, 0, 8, text, 0), -ECONNREFUSED);
  descriptor_close(left);
}

static void batch_errors(void) {
  int left, right;
  prepare(2, 8, 0);
  CHECK_EQ(batch_receive(-1, messages, 1, 0, 0, 0), -EBADF);
  CHECK_EQ(batch_send(-1, messages, 1), -EBADF);
  int epoll = real_epoll_create1(EPOLL_CLOEXEC);
  CHECK_EQ(batch_receive(epoll, messages, 1, 0, 0, 0), -ENOTSOCK);
  CHECK_EQ(batch_send(epoll, messages, 1), -ENOTSOCK);
  close(epoll);
  pair_open(&left, &right, SOCK_DGRAM);
  /* The second message is too long: one is sent, and the next call returns the error. */
  static u8 long_one[1 << 20];
  vectors[1].base = long_one;
  vectors[1].length = sizeof long_one;
  CHECK_EQ(batch_send(left, messages, 2), 1);
  CHECK_EQ(batch_send(left, messages + 1, 1), -EMSGSIZE);
  prepare(1, 8, 0);
  while (batch_send(left, messages, 1) == 1);
  CHECK_EQ(batch_send(left, messages, 1), -EAGAIN);
  descriptor_close(right);
  CHECK_EQ(batch_send(left, messages, 1), -ECONNREFUSED);
  descriptor_close(left);
}

static void interrupted_calls(void) {
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  prepare(1, 8, 0);
  inject_fault(CALL_SYSCALL, 0, 3, EINTR);
  CHECK_EQ(batch_send(left, messages, 1), 1);
  CHECK_EQ(faults[CALL_SYSCALL].calls, 4);
  inject_fault(CALL_SYSCALL, 0, 3, EINTR);
  CHECK_EQ(batch_receive(right, messages, 1, 0, 0, 0), 1);
  CHECK_EQ(faults[CALL_SYSCALL].calls, 4);
  inject_fault(CALL_SYSCALL, 0, 1000, EINTR);
  CHECK_EQ(batch_send(left, messages, 1), -EINTR);
  CHECK_EQ(faults[CALL_SYSCALL].calls, EINTR_RETRIES_MAX);
  inject_fault(CALL_SYSCALL, 0, 1000, EINTR);
  CHECK_EQ(batch_receive(left, messages, 1, 0, 0, 0), -EINTR);
  CHECK_EQ(faults[CALL_SYSCALL].calls, EINTR_RETRIES_MAX);
  clear_faults();
  struct inet_address here;
  int fd = open_udp(&here);
  inject_fault(CALL_CONNECT, 0, 2, EINTR);
  CHECK_EQ(socket_connect(fd, &here, sizeof here), 0);
  CHECK_EQ(faults[CALL_CONNECT].calls, 3);
  inject_fault(CALL_CONNECT, 0, 1000, EINTR);
  CHECK_EQ(socket_connect(fd, &here, sizeof here), -EINTR);
  CHECK_EQ(faults[CALL_CONNECT].calls, EINTR_RETRIES_MAX);
  descriptor_close(fd);
  descriptor_close(left);
  descriptor_close(right);
}

/* --------------------------------------------------------------------------- sockets ---- */

static void socket_entries(void) {
  struct inet_address here, peer;
  int fd = open_udp(&here);
  CHECK(descriptor_flags(fd) & O_NONBLOCK);
  CHECK_EQ(fcntl(fd, F_GETFD), 1);
  CHECK_EQ(socket_open(12345, SOCK_DGRAM, 0), -EAFNOSUPPORT);
  CHECK_EQ(socket_bind(-1, &here, sizeof here), -EBADF);
  int other = socket_open(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(socket_bind(other, &here, sizeof here), -EADDRINUSE);
  CHECK_EQ(socket_peer_name(other, &peer, sizeof peer), -ENOTCONN);
  CHECK_EQ(socket_connect(other, &here, sizeof here), 0);
  memset(&peer, 0, sizeof peer);
  CHECK_EQ(socket_peer_name(other, &peer, sizeof peer), sizeof peer);
  CHECK_EQ(memcmp(&peer, &here, sizeof peer), 0);
  CHECK_EQ(socket_name(-1, &peer, sizeof peer), -EBADF);
  i32 value = 20000;
  CHECK_EQ(option_set(fd, SOL_SOCKET, SO_SNDBUF, &value, 4), 0);
  value = 0;
  CHECK_EQ(option_get(fd, SOL_SOCKET, SO_TYPE, &value, 4), 4);
  CHECK_EQ(value, SOCK_DGRAM);
  CHECK_EQ(option_set(fd, SOL_SOCKET, 9999, &value, 4), -ENOPROTOOPT);
  CHECK_EQ(option_get(fd, SOL_SOCKET, 9999, &value, 4), -ENOPROTOOPT);
  int duplicate = descriptor_duplicate(fd);
  CHECK(duplicate > fd);
  CHECK_EQ(fcntl(duplicate, F_GETFD), 1);
  CHECK_EQ(fcntl(duplicate, F_SETFL, 0), 0);
  CHECK_EQ(descriptor_flags(fd) & O_NONBLOCK, 0);
  CHECK_EQ(descriptor_set_nonblocking(duplicate), 0);
  CHECK(descriptor_flags(fd) & O_NONBLOCK);
  CHECK_EQ(descriptor_close(duplicate), 0);
  CHECK_EQ(descriptor_close(duplicate), -EBADF);
  CHECK_EQ(descriptor_flags(duplicate), -EBADF);
  CHECK_EQ(descriptor_set_nonblocking(duplicate), -EBADF);
  CHECK_EQ(descriptor_duplicate(duplicate), -EBADF);
  descriptor_close(fd);
  descriptor_close(other);
}

/* Ends the ownership of all descriptors of the section, as the end of a heap does. */
static void destroy_descriptors(void) {
  descriptors_destroy(owner, 0);
  owner = descriptors_create();
}

/* Sends and receives return -EAGAIN on descriptors that block, as descriptors of a caller may. */
static void blocking_descriptors(void) {
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(fcntl(left, F_SETFL, 0), 0);
  CHECK_EQ(fcntl(right, F_SETFL, 0), 0);
  alarm(20); /* ends the harness if a call waits */
  prepare(1, 8, 0);
  CHECK_EQ(batch_receive(right, messages, 1, 0, 0, 0), -EAGAIN);
  int sent = 0;
  while (sent < 100000 && batch_send(left, messages, 1) == 1) sent++;
  CHECK(sent > 0 && sent < 100000);
  CHECK_EQ(batch_send(left, messages, 1), -EAGAIN);
  CHECK_EQ(drain(right), sent);
  alarm(0);
  CHECK_EQ(descriptor_close(left), 0);
  CHECK_EQ(descriptor_close(right), 0);
}

/* Sends a datagram of 8 bytes that passes `count` duplicates of `passed`. */
static void pass_descriptors(int fd, int passed, u32 count) {
  static u8 control[1024] __attribute__((aligned(8)));
  struct cmsghdr *header = (struct cmsghdr *)control;
  *header = (struct cmsghdr){sizeof *header + count * sizeof(int), SOL_SOCKET, SCM_RIGHTS};
  for (u32 i = 0; i < count; i++) memcpy(control + sizeof *header + 4 * i, &passed, sizeof passed);
  prepare(1, 8, 0);
  messages[0].header.control = control;
  messages[0].header.control_length = header->length;
  CHECK_EQ(batch_send(fd, messages, 1), 1);
}

/* The owner has the descriptors that it accepts; those beyond the limit are closed. */
static void passed_descriptors(void) {
  static u8 control[1024] __attribute__((aligned(8)));
  int left, right, fds[100];
  pair_open(&left, &right, SOCK_DGRAM);
  int before = descriptors_open();
  prepare(1, 8, 0);
  messages[0].header.control = control;
  CHECK_EQ(fds_receive(right, messages, 0, sizeof control, fds, 100), -EAGAIN);
  CHECK_EQ(fds_receive(-1, messages, 0, sizeof control, fds, 100), -EBADF);
  const u32 cases[][3] = {{1, 1, 0}, {2, 2, 0}, {2, 1, 1}, {100, 100, 0}, {100, 7, 1}, {0, 5, 0}, {3, 0, 1}};
  for (u32 i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    u32 count = cases[i][0], limit = cases[i][1], expected = count < limit ? count : limit;
    if (count == 0) send_one(left);
    else pass_descriptors(left, left, count);
    prepare(1, 8, 0);
    messages[0].header.control = control;
    memset(fds, 0xff, sizeof fds);
    inject_fault(CALL_SYSCALL, 0, 2, EINTR);
    CHECK_EQ(fds_receive(right, messages, 0, sizeof control, fds, limit), expected);
    CHECK_EQ(messages[0].length, 8);
    CHECK_EQ(messages[0].header.flags & MSG_CTRUNC, cases[i][2] ? MSG_CTRUNC : 0);
    CHECK_EQ(descriptors_open(), before + (int)expected);
    for (u32 f = 0; f < 100; f++) CHECK_EQ(fds[f] >= 0, f < expected);
#ifndef EMULATED /* qemu does not pass on MSG_CMSG_CLOEXEC */
    if (expected > 0) CHECK_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
#endif
    for (u32 f = 0; f < expected; f++) CHECK_EQ(descriptor_close(fds[f]), 0);
  }
#ifndef EMULATED /* qemu opens all descriptors, and then reports those that fit */
  /* Too little space for all: the kernel opens no others. */
  pass_descriptors(left, left, 9);
  prepare(1, 8, 0);
  messages[0].header.control = control;
  CHECK_EQ(fds_receive(right, messages, 0, sizeof(struct cmsghdr) + 2 * sizeof(int), fds, 100), 2);
  CHECK_EQ(messages[0].header.flags & MSG_CTRUNC, MSG_CTRUNC);
  CHECK_EQ(descriptors_open(), before + 2);
#endif
  /* The end of the owner closes what was received and not closed, and the pair. */
  destroy_descriptors();
  CHECK_EQ(descriptors_open(), before - 2);
}

/* No descriptor is inherited by child processes, and other flags of a descriptor remain. */
static void descriptor_flags_kept(void) {
  int pair[2], notify_fd;
  CHECK_EQ(socket_pair(AF_UNIX, SOCK_DGRAM, pair), 0);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(fcntl(pair[i], F_GETFD), FD_CLOEXEC);
    CHECK(descriptor_flags(pair[i]) & O_NONBLOCK);
  }
  CHECK_EQ(fcntl(pair[0], F_SETFL, O_ASYNC), 0);
  CHECK_EQ(descriptor_set_nonblocking(pair[0]), 0);
  CHECK_EQ(descriptor_flags(pair[0]) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
  CHECK_EQ(descriptor_close(pair[0]), 0);
  CHECK_EQ(descriptor_close(pair[1]), 0);

  mode = MODE_LOOP;
  struct fixture loop = fixture_create(&notify_fd);
  CHECK_EQ(fixture_try_open(loop, notify_fd), 0);
  CHECK_EQ(fcntl(loop.poller->epoll, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(fcntl(notify_fd, F_GETFD), FD_CLOEXEC);
  fixture_close(loop);

  mode = MODE_THREAD;
  struct fixture thread = fixture_create(&notify_fd);
  CHECK_EQ(fixture_try_open(thread, notify_fd), 0);
  CHECK_EQ(fcntl(thread.poller->epoll, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(fcntl(thread.poller->thread_epoll, F_GETFD), FD_CLOEXEC);
  CHECK_EQ(fcntl(thread.poller->stop, F_GETFD), FD_CLOEXEC);
  /* The poller owns it now: the end of its former owner leaves it open. */
  destroy_descriptors();
  CHECK(fcntl(notify_fd, F_GETFD) >= 0);
  poller_destroy(thread.poller, 0);
  close(thread.loop);
  mode = MODE_LOOP;
}

#ifndef EMULATED
/* Each receive has the whole space for control messages, whatever the last one used. */
static void control_space(void) {
  struct inet_address here;
  static u8 control[256] __attribute__((aligned(8)));
  i32 on = 1;
  int receiver = open_udp(&here), sender = socket_open(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(socket_connect(sender, &here, sizeof here), 0);
  CHECK_EQ(option_set(receiver, SOL_SOCKET, SO_TIMESTAMPNS, &on, 4), 0);
  send_one(sender);
  prepare(1, 8, 0);
  messages[0].header.control = control;
  CHECK_EQ(batch_receive(receiver, messages, 1, 0, sizeof control, 0), 1);
  u64 first = messages[0].header.control_length;
  CHECK(first > 0 && first < sizeof control);
  CHECK_EQ(option_set(receiver, 0, IP_PKTINFO, &on, 4), 0);
  send_one(sender);
  prepare(1, 8, 0);
  messages[0].header.control = control;
  messages[0].header.control_length = first;
  CHECK_EQ(batch_receive(receiver, messages, 1, 0, sizeof control, 0), 1);
  CHECK(messages[0].header.control_length > first);
  CHECK_EQ(messages[0].header.flags & MSG_CTRUNC, 0);
  descriptor_close(receiver);
  descriptor_close(sender);
}

#endif

/* Every datagram of a message is copied with its own length, as far as it fits. */
static void scattered(void) {
  u8 message[25], targets[3][12];
  struct iovec slots[3];
  for (u32 i = 0; i < sizeof message; i++) message[i] = (u8)i;
  memset(targets, 0xff, sizeof targets);
  for (u32 i = 0; i < 3; i++) slots[i] = (struct iovec){targets[i], 12};
  slots[1].length = 4;
  CHECK_EQ(batch_scatter(message, 25, 10, slots, 3), 10 + 4 + 5);
  CHECK_EQ(targets[0][9], 9);
  CHECK_EQ(targets[0][10], 0xff);
  CHECK_EQ(targets[1][3], 13);
  CHECK_EQ(targets[1][4], 0xff);
  CHECK_EQ(targets[2][4], 24);
  CHECK_EQ(targets[2][5], 0xff);
  CHECK_EQ(batch_scatter(message, 0, 10, slots, 0), 0);
}

#ifndef EMULATED
/* Returns the size of the address space in pages (proc(5), statm). */
static long pages_mapped(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == 0) return 0;
  if (fscanf(file, "%ld", &pages) != 1) pages = 0;
  fclose(file);
  return pages;
}

/* Memory that was mapped is returned to the system. */
static void mapped_memory(void) {
  long before = pages_mapped();
  int fd = real_socket(AF_INET, SOCK_DGRAM, 0);
  for (int i = 0; i < 200; i++) {
    u8 *memory = memory_map(1 << 20);
    CHECK(memory != 0 && memory[0] == 0);
    memory_unmap(memory, (void *)(1ul << 20));
    struct descriptors *table = descriptors_create();
    (descriptor_own)(table, fd); /* the table of a thread that owns none has no memory */
    CHECK(table->capacity > 0);
    (descriptor_disown)(table, fd);
    descriptors_destroy(table, 0);
    poller_destroy(poller_create(), 0);
  }
  close(fd);
  /* 200 MiB, and at least 200 pages each, if something leaks. The allocator may map some pages. */
  CHECK(pages_mapped() - before < 150);
}
#endif

/* descriptors_destroy closes all descriptors of the shim except closed and disowned ones. */
static void descriptor_ownership(void) {
  int before = descriptors_open(), pair[2];
  int kept = socket_open(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(socket_pair(AF_UNIX, SOCK_DGRAM, pair), 0);
  int duplicate = descriptor_duplicate(kept);
  int adopted = fcntl(kept, F_DUPFD_CLOEXEC, 0);
  descriptor_own(adopted);
  CHECK_EQ(descriptor_close(pair[0]), 0);
  descriptor_disown(kept);
  /* Not open: ignored. */
  descriptor_own(-1);
  descriptor_own(1 << 20);
  descriptor_disown(-1);
  descriptor_disown(1 << 20);
  destroy_descriptors();
  CHECK_EQ(descriptors_open(), before + 1);
  CHECK_EQ(descriptor_flags(pair[1]), -EBADF);
  CHECK_EQ(descriptor_flags(duplicate), -EBADF);
  CHECK_EQ(descriptor_flags(adopted), -EBADF);
  CHECK(descriptor_flags(kept) >= 0);
  close(kept);
  destroy_descriptors();
  CHECK_EQ(descriptors_open(), before);
}

/* A number that something else has closed, and that refers to another file since, is not closed. */
static void foreign_descriptors(void) {
  int lost = socket_open(AF_INET, SOCK_DGRAM, 0), closed = socket_open(AF_INET, SOCK_DGRAM, 0);
  int gone = socket_open(AF_INET, SOCK_DGRAM, 0);
  int foreign[2];
  close(lost);
  close(closed);
  for (int i = 0; i < 2; i++) foreign[i] = real_socket(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(foreign[0], lost);
  CHECK_EQ(foreign[1], closed);
  close(gone);
  CHECK_EQ(descriptor_close(closed), -EBADF);
  CHECK_EQ(descriptor_close(closed), 0); /* no longer owned: as close(2) */
  foreign[1] = real_open("/dev/null", O_RDONLY);
  CHECK_EQ(foreign[1], closed);
  destroy_descriptors();
  for (int i = 0; i < 2; i++) {
    CHECK(descriptor_flags(foreign[i]) >= 0);
    close(foreign[i]);
  }
}

/* The numbers of files are unique on a device only. */
static void foreign_devices(void) {
  int fd = socket_open(AF_INET, SOCK_DGRAM, 0);
  owner->identities[fd].device++;
  CHECK_EQ(descriptor_close(fd), -EBADF);
  CHECK(descriptor_flags(fd) >= 0);
  descriptor_own(fd);
  owner->identities[fd].device++;
  destroy_descriptors();
  CHECK(descriptor_flags(fd) >= 0);
  close(fd);
}

/* The table grows with the numbers. Without memory, a descriptor is not owned. */
static void many_descriptors(void) {
  enum { HIGH = 1500 };
  int low = socket_open(AF_INET, SOCK_DGRAM, 0);
  int high = fcntl(low, F_DUPFD_CLOEXEC, HIGH);
  CHECK_EQ(high, HIGH);
  CHECK_EQ(owner->capacity, DESCRIPTORS_MIN);
  inject_fault(CALL_MREMAP, 0, 1, ENOMEM);
  descriptor_own(high);
  CHECK_EQ(owner->capacity, DESCRIPTORS_MIN);
  descriptor_own(high);
  CHECK_EQ(owner->capacity, 2048);
  destroy_descriptors();
  CHECK_EQ(descriptor_flags(low), -EBADF);
  CHECK_EQ(descriptor_flags(high), -EBADF);
  inject_fault(CALL_MMAP, 0, 1, ENOMEM);
  int unowned = socket_open(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(owner->capacity, 0);
  destroy_descriptors();
  CHECK_EQ(descriptor_close(unowned), 0);
  inject_fault(CALL_MMAP, 0, 1, ENOMEM);
  CHECK(descriptors_create() == 0);
}

/* ----------------------------------------------------------------------------- offload ---- */

/* Expects a kernel with both offloads (Linux 5.0). Faults simulate kernels without them. */
static void offload_detection(void) {
#ifndef EMULATED /* qemu does not pass on control messages that it does not know */
  CHECK_EQ(offload_probe(), 2);
  inject_fault(CALL_SYSCALL, 2, 1, EINVAL);
  CHECK_EQ(offload_probe(), 1);
  inject_fault(CALL_SYSCALL, 3, 1, EAGAIN);
  CHECK_EQ(offload_probe(), 1);
#endif
  inject_fault(CALL_SYSCALL, 0, 1, EINVAL);
  CHECK_EQ(offload_probe(), 0);
  inject_fault(CALL_CONNECT, 0, 1, EPERM);
  CHECK_EQ(offload_probe(), -EPERM);
  inject_fault(CALL_BIND, 0, 1, EADDRNOTAVAIL);
  CHECK_EQ(offload_probe(), -EADDRNOTAVAIL);
  for (int skip = 0; skip < 2; skip++) {
    inject_fault(CALL_SOCKET, skip, 1, EMFILE);
    CHECK_EQ(offload_probe(), -EMFILE);
  }
}

/* A sender without a peer, a receiver without GRO, a foreign datagram, sockets without GSO. */
static void segment_check_failures(void) {
  struct inet_address here;
  int receiver = open_udp(&here), sender = socket_open(AF_INET, SOCK_DGRAM, 0);
  CHECK_EQ(segments_pass(sender, receiver, PROBE_DATAGRAMS), 0);
  CHECK_EQ(socket_connect(sender, &here, sizeof here), 0);
#ifndef EMULATED
  CHECK_EQ(segments_pass(sender, receiver, PROBE_DATAGRAMS), 1);
  CHECK_EQ(segments_pass(sender, receiver, 1), 0);
  drain(receiver);
  /* A foreign datagram before those of the probe. */
  send_one(sender);
  CHECK_EQ(segments_pass(sender, receiver, PROBE_DATAGRAMS), 0);
  drain(receiver);
  /* Foreign datagrams of the same lengths. */
  for (int left = PROBE_BYTES; left > 0; left -= PROBE_STRIDE) {
    prepare(1, (u64)(left < PROBE_STRIDE ? left : PROBE_STRIDE), 0);
    vectors[0].base = (void *)bytes;
    CHECK_EQ(batch_send(sender, messages, 1), 1);
  }
  CHECK_EQ(segments_pass(sender, receiver, PROBE_DATAGRAMS), 0);
  drain(receiver);
#endif
  int pair[2];
  CHECK_EQ(socket_pair(AF_UNIX, SOCK_DGRAM, pair), 0);
  CHECK_EQ(segments_pass(pair[0], pair[1], 1), 0);
  for (int i = 0; i < 2; i++) descriptor_close(pair[i]);
  descriptor_close(receiver);
  descriptor_close(sender);
}

static void clocks(void) {
  const int monotonic = 1;
  long long before[2], read[2], after[2];
  CHECK_EQ(clock_gettime(monotonic, before), 0);
  CHECK_EQ(clock_read(monotonic, read), 0);
  CHECK_EQ(clock_gettime(monotonic, after), 0);
  long long times[3] = {before[0] * 1000000000 + before[1], read[0] * 1000000000 + read[1],
                        after[0] * 1000000000 + after[1]};
  CHECK(times[0] <= times[1] && times[1] <= times[2]);
  CHECK_EQ(clock_read(12345, read), -EINVAL);
  double ms = monotonic_ms();
  CHECK(ms >= (double)times[2] / 1e6);
  CHECK(ms <= (double)times[2] / 1e6 + 10000);
}

static void interfaces(void) {
  CHECK(interface_index("lo") > 0);
  CHECK_EQ(interface_index("no such device"), -ENODEV);
  CHECK_EQ(interface_index(""), -ENODEV);
  CHECK_EQ(interface_index("a name that is longer than a device name can be"), -ENODEV);
  const u8 loopback[4] = {127, 0, 0, 1}, foreign[4] = {192, 0, 2, 255};
  CHECK_EQ(interface_of_address(AF_INET, loopback, 4, 4), interface_index("lo"));
  CHECK_EQ(interface_of_address(AF_INET, foreign, 4, 4), -ENODEV);
  CHECK_EQ(interface_of_address(12345, loopback, 4, 4), -ENODEV);
#ifdef __GLIBC__
  /* The list of addresses is returned to the allocator. */
  unsigned long before = mallinfo2().uordblks;
  for (int i = 0; i < 100; i++) interface_of_address(AF_INET, foreign, 4, 4);
  CHECK(mallinfo2().uordblks <= before + 4096);
#endif
}

static void entry_table(void) {
  void **table = shim_entries();
  u32 count = sizeof entries / sizeof entries[0] - 1;
  CHECK_EQ(((int (*)(void))table[0])(), SHIM_ABI);
  for (u32 i = 0; i < count; i++) CHECK(table[i] != 0);
  CHECK(table[count] == 0);
  CHECK_EQ(poller_bytes(), sizeof(struct poller));
}

/* The address of the table is known under a name, unless the name has another one. */
static void publication(void) {
  const char *known = "datagram-socket:0123456789abcdef";
  char expected[PUBLISHED_BYTES];
  snprintf(expected, sizeof expected, "datagram-socket:%016llx", (u64)shim_entries());
  inject_fault(CALL_BINDTEXTDOMAIN, 0, 1, ENOMEM);
  CHECK_EQ(shim_publish("harness-new"), -ENOMEM);
  for (int i = 0; i < 2; i++) CHECK_EQ(shim_publish("harness-new"), 0);
  CHECK_EQ(strcmp(real_bindtextdomain("harness-new", 0), expected), 0);
  real_bindtextdomain("harness-known", known);
  CHECK_EQ(shim_publish("harness-known"), 0);
  CHECK_EQ(strcmp(real_bindtextdomain("harness-known", 0), known), 0);
}


#include "readiness.h"
#include "helper-thread.h"

int main(int count, char **arguments) {
  if (count > 1) rounds = atoi(arguments[1]);
  run_section("batches of 1 to 64 messages arrive complete", batches);
  run_section("batch_receive resets the in/out fields of the headers", in_out_header_fields);
  run_section("single datagrams", single_datagrams);
  run_section("batch calls return -errno", batch_errors);
  run_section("interrupted calls are retried, up to a limit", interrupted_calls);
  run_section("socket, option and descriptor entries return values or -errno", socket_entries);
  run_section("no call waits on a descriptor that blocks", blocking_descriptors);
  run_section("descriptors that a datagram passes are owned or closed", passed_descriptors);
  run_section("no descriptor is inherited, and flags remain", descriptor_flags_kept);
#ifndef EMULATED /* qemu has no SO_TIMESTAMPNS, and maps memory of its own */
  run_section("each receive has the whole space for control messages", control_space);
  run_section("mapped memory is returned", mapped_memory);
#endif
  run_section("batch_scatter copies each datagram as far as it fits", scattered);
  run_section("descriptors_destroy closes the owned descriptors only", descriptor_ownership);
  run_section("descriptors that something else has closed are left alone", foreign_descriptors);
  run_section("a file with the same number on another device is left alone", foreign_devices);
  run_section("the table of owned descriptors grows, or an error is tolerated", many_descriptors);
  run_section("offload_probe detects which offloads work", offload_detection);
  run_section("segments_pass returns 0 for missing or unexpected messages", segment_check_failures);
  run_section("clock_read agrees with clock_gettime", clocks);
  run_section("interface_index returns the index of a device, or -ENODEV", interfaces);
  run_section("the table has every entry, and ends with 0", entry_table);
  run_section("shim_publish makes the table known once", publication);
  run_readiness();
  run_helper_thread();
  printf("%d passed, %d failed\n", checks_passed, checks_failed);
  return checks_failed != 0;
}
