/*
 * Calls the entries of c/shim.c in random order with random arguments, under sanitizers: hostile
 * lengths, counts, names, control messages, options and descriptors, with injected errors. Memory
 * has exactly the size that is passed, so that the address sanitizer notices any access beyond it.
 * Real sockets, confined to loopback and abstract names.
 *
 * usage: shim-fuzz <calls> <seed>   the last line is "N calls, seed S"
 */

#include "harness.h"

unsigned if_nametoindex(const char *name);

#define EINVAL 22
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define FDS_MAX 24
#define SO_DOMAIN 39
#define PASSED_MAX 12
#define MESSAGES_MAX 20
#define PIECES_MAX 4
#define ALLOCATIONS_MAX 400
/* Larger than any name and any control message that the kernel knows. */
#define NAME_BYTES_MAX 140
#define CONTROL_BYTES_MAX 300
#define PAYLOAD_BYTES_MAX 3000
#define ERRNO_MAX 4095

/* ------------------------------------------------------------------------- random values ---- */

static u64 state;

/* xorshift64*: the same seed gives the same calls. */
static u64 draw(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717ull;
}

/* Returns a number from 0 to `limit` - 1. */
static u32 below(u32 limit) {
  return (u32)((draw() >> 33) % limit);
}

static int chance(u32 one_in) {
  return below(one_in) == 0;
}

/* Returns any number: mostly small, or near a limit. */
static int any_int(void) {
  static const int edges[] = {-1, 0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2147483647, -2147483647};
  if (chance(3)) return edges[below(sizeof edges / sizeof edges[0])];
  return chance(2) ? (int)below(130) : (int)draw();
}

/* ------------------------------------------------------------------------------- memory ---- */

/* The memory of one call, which is freed after it. */
static void *allocations[ALLOCATIONS_MAX];
static u32 allocation_count;

/* Returns memory of exactly `length` bytes with random contents. */
static void *memory_of(u32 length) {
  u8 *memory = malloc(length);
  for (u32 i = 0; i < length; i++) memory[i] = (u8)draw();
  if (allocation_count == ALLOCATIONS_MAX) abort();
  return allocations[allocation_count++] = memory;
}

static void free_all(void) {
  while (allocation_count > 0) free(allocations[--allocation_count]);
}

/* -------------------------------------------------------------------------- descriptors ---- */

static int fds[FDS_MAX];
static u32 fd_count;

/* Returns one of the open descriptors, or a number that is none. */
static int any_fd(void) {
  if (fd_count == 0 || chance(20)) return chance(2) ? -1 : 1500 + (int)below(100);
  return fds[below(fd_count)];
}

/*
 * Closes a descriptor without injected faults: if fstat fails, the shim cannot tell whether the
 * number still refers to the same file, and leaves it open.
 */
static void close_now(int fd) {
  clear_faults();
  CHECK_EQ(descriptor_close(fd), 0);
}

static void keep(int fd) {
  if (fd < 0) return;
  if (fd_count < FDS_MAX) fds[fd_count++] = fd;
  else close_now(fd);
}

/* Requires a result of at least 0, or -errno. */
static int checked_result(int result) {
  CHECK(result >= -ERRNO_MAX);
  return result;
}

/* ------------------------------------------------------------------------------- addresses ---- */

/* Confines an address to this host: loopback, or an abstract name of Unix. */
static void confine(u8 *address, u32 length) {
  if (length < 2) return;
  u16 family = chance(8) ? (u16)below(45) : chance(2) ? AF_INET : chance(2) ? 10 : AF_UNIX;
  memcpy(address, &family, 2);
  if (family == AF_INET && length >= 8) address[4] = 127;
  if (family == 10 && length >= 24) {
    memset(address + 8, 0, 15);
    address[23] = 1;
  }
  if (family == AF_UNIX && length > 2) address[2] = 0;
}

static u8 *any_address(u32 *length) {
  static const u32 lengths[] = {0, 1, 2, 3, 8, 16, 16, 28, 28, 110, 111, 128};
  *length = lengths[below(sizeof lengths / sizeof lengths[0])];
  u8 *address = memory_of(*length);
  confine(address, *length);
  return address;
}

/* ----------------------------------------------------------------------------------- calls ---- */

static void open_sockets(void) {
  static const int domains[] = {AF_INET, AF_INET, 10, 10, AF_UNIX, AF_UNIX, 0, -1, 45};
  static const int types[] = {SOCK_DGRAM, SOCK_DGRAM, SOCK_DGRAM, SOCK_STREAM, 5, 0, -1};
  int domain = domains[below(9)], type = types[below(7)];
  if (chance(3)) {
    int ends[2];
    if (checked_result(socket_pair(domain, type, ends)) < 0) return;
    keep(ends[0]);
    keep(ends[1]);
    return;
  }
  int fd = checked_result(socket_open(domain, type, chance(9) ? any_int() : 0));
  if (fd < 0) return;
  struct inet_address loopback = {AF_INET, 0, 0x0100007f, {0}};
  if (chance(2)) checked_result(socket_bind(fd, &loopback, sizeof loopback));
  keep(fd);
}

static void close_one(void) {
  if (fd_count == 0) return;
  u32 i = below(fd_count);
  close_now(fds[i]);
  fds[i] = fds[--fd_count];
}

static void name_or_connect(void) {
  u32 length;
  int fd = any_fd();
  u8 *address = any_address(&length);
  switch (below(4)) {
    case 0: checked_result(socket_bind(fd, address, length)); return;
    case 1: checked_result(socket_connect(fd, address, length)); return;
    case 2: checked_result(socket_name(fd, address, length)); return;
    default: checked_result(socket_peer_name(fd, address, length)); return;
  }
}

/* Connects one socket to the name of another, so that datagrams arrive. */
static void join_sockets(void) {
  u8 name[128];
  int to = any_fd(), length = checked_result(socket_name(to, name, sizeof name));
  if (length > 2 && length <= (int)sizeof name)
    checked_result(socket_connect(any_fd(), name, (u32)length));
}

/* Returns messages whose buffers have exactly the lengths that they name. */
static struct mmsghdr *any_messages(u32 count, int is_receive, u32 name_bytes, u32 control_bytes) {
  struct mmsghdr *all = memory_of(count * sizeof *all);
  memset(all, 0, count * sizeof *all);
  for (u32 i = 0; i < count; i++) {
    struct msghdr *header = &all[i].header;
    u32 pieces = below(PIECES_MAX + 1);
    struct iovec *vector = memory_of(pieces * sizeof *vector);
    for (u32 p = 0; p < pieces; p++) {
      vector[p].length = chance(4) ? 0 : below(chance(6) ? PAYLOAD_BYTES_MAX : 64);
      vector[p].base = memory_of((u32)vector[p].length);
    }
    header->vector = vector;
    header->vector_length = pieces;
    if (is_receive) {
      header->name = name_bytes ? memory_of(name_bytes) : 0;
      header->control = control_bytes ? memory_of(control_bytes) : 0;
      continue;
    }
    u32 length = 0;
    if (chance(3)) header->name = any_address(&length);
    header->name_length = length;
    if (!chance(3)) continue;
    u32 bytes = below(CONTROL_BYTES_MAX);
    u8 *control = memory_of(bytes);
    if (bytes >= 16) {
      static const i32 kinds[][2] = {{17, 103}, {0, 8}, {0, 1}, {41, 50}, {41, 67}, {1, 61}, {1, 37},
                                     {SOL_SOCKET, SCM_RIGHTS}};
      const i32 *kind = kinds[below(8)];
      u64 claimed = chance(4) ? draw() : 16 + below(32);
      memcpy(control, &claimed, 8);
      memcpy(control + 8, kind, 8);
      for (u32 at = 16; at + 4 <= bytes && !chance(9); at += 4) {
        int passed = any_fd();
        memcpy(control + at, &passed, 4);
      }
    }
    header->control = control;
    header->control_length = bytes;
  }
  return all;
}

static void send_messages(void) {
  u32 count = below(MESSAGES_MAX);
  struct mmsghdr *all = any_messages(count, 0, 0, 0);
  int sent = checked_result(batch_send(any_fd(), all, count));
  CHECK(sent <= (int)count);
}

static void send_one(void) {
  u32 bytes = below(PAYLOAD_BYTES_MAX), name_bytes = 0;
  u32 start = below(bytes + 1);
  u8 *payload = memory_of(bytes);
  void *name = any_address(&name_bytes);
  CHECK(checked_result(datagram_send(any_fd(), payload, start, bytes - start, name, name_bytes)) <= 0);
}

static int is_unix(int fd) {
  int domain = 0;
  u32 length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

/* Everything that the kernel opens is returned or closed: main checks it at the end. */
static void receive_descriptors(void) {
  u32 name_bytes = below(NAME_BYTES_MAX), control_bytes = below(CONTROL_BYTES_MAX);
  u32 limit = below(PASSED_MAX);
  int *fds = memory_of(limit * sizeof *fds);
  struct mmsghdr *message = any_messages(1, 1, name_bytes, control_bytes);
  int received =
      checked_result(fds_receive(any_fd(), message, name_bytes, control_bytes, fds, limit));
  CHECK(received <= (int)limit);
  for (int i = 0; i < received; i++) keep(fds[i]);
}

static void receive_messages(void) {
  static const int flags[] = {0, 0, 0, MSG_PEEK, MSG_ERRQUEUE, MSG_TRUNC};
  u32 count = below(MESSAGES_MAX);
  u32 name_bytes = chance(2) ? 28 : below(NAME_BYTES_MAX);
  int fd = any_fd();
  /* The kernel would open descriptors that a datagram passes, and nothing would close them. */
  u32 control_bytes = chance(2) || is_unix(fd) ? 0 : below(CONTROL_BYTES_MAX);
  struct mmsghdr *all = any_messages(count, 1, name_bytes, control_bytes);
  int received = checked_result(
      batch_receive(fd, all, count, name_bytes, control_bytes, flags[below(6)]));
  CHECK(received <= (int)count);
  for (int i = 0; i < received; i++) CHECK(all[i].header.control_length <= control_bytes);
}

static void options(void) {
  static const int levels[] = {0, 1, 17, 41};
  u32 length = below(chance(4) ? 300 : 9);
  void *value = memory_of(length);
  int level = chance(6) ? any_int() : levels[below(4)], name = (int)below(130);
  /* SO_ATTACH_FILTER and the like take pointers. SO_PASSPIDFD and SO_PEERPIDFD open descriptors. */
  int is_filter = (name >= 26 && name <= 28) || (name >= 50 && name <= 53);
  if (level == 1 && (is_filter || name == 76 || name == 77)) return;
  int fd = any_fd();
  if (chance(2)) checked_result(option_set(fd, level, name, value, length));
  else CHECK(checked_result(option_get(fd, level, name, value, length)) <= (int)length);
}

static void descriptors_of_all_kinds(void) {
  int fd = any_fd();
  switch (below(5)) {
    case 0: checked_result(descriptor_flags(fd)); return;
    case 1: checked_result(descriptor_set_nonblocking(fd)); return;
    case 2: keep(checked_result(descriptor_duplicate(fd))); return;
    case 3:
      descriptor_disown(fd);
      descriptor_own(fd);
      return;
    default:
      descriptor_own(-1 - (int)below(9));
      descriptor_disown(chance(2) ? -5 : 1 << 20);
      CHECK_EQ(descriptor_close(1500 + (int)below(100)), -EBADF);
  }
}

static void scatter(void) {
  u32 length = below(4000), stride = 1 + below(chance(2) ? 64 : 2000);
  u32 datagrams = (length + stride - 1) / stride, count = datagrams ? below(datagrams + 1) : 0;
  if (count > 200) count = 200;
  u8 *bytes = memory_of(length);
  struct iovec *targets = memory_of(count * sizeof *targets);
  u64 room = 0;
  for (u32 i = 0; i < count; i++) {
    targets[i].length = below(chance(2) ? 80 : 2200);
    targets[i].base = memory_of((u32)targets[i].length);
    room += targets[i].length;
  }
  u32 copied = batch_scatter(bytes, length, stride, targets, count);
  CHECK(copied <= length && copied <= room);
}

static void interfaces(void) {
  char name[40];
  u32 length = below(sizeof name);
  for (u32 i = 0; i < length; i++) name[i] = (char)(1 + below(255));
  name[length] = 0;
  /* Two random bytes are sometimes the name of an interface: "lo". */
  unsigned known = if_nametoindex(name);
  CHECK_EQ(interface_index(name), known ? (int)known : -ENODEV);
  if (!chance(20)) return;
  int is_ipv4 = chance(2);
  checked_result(is_ipv4 ? interface_of_address(AF_INET, memory_of(4), 4, 4)
                         : interface_of_address(10, memory_of(16), 8, 16));
}

/* ------------------------------------------------------------------------------- readiness ---- */

static struct poller *poller;

/* The poller's notifications go to a pair whose other end is read now and then. */
static int reader = -1;

static void poller_start(void) {
  int ends[2];
  poller = poller_create();
  if (!poller) return;
  if (checked_result(socket_pair(AF_UNIX, SOCK_STREAM, ends)) < 0) return;
  reader = ends[1];
  if (checked_result(poller_open_with_thread(poller, owner, ends[0])) < 0)
    close_now(ends[0]);
}

static void poller_stop(void) {
  if (poller) poller_destroy(poller, 0);
  if (reader >= 0) close_now(reader);
  poller = 0;
  reader = -1;
}

static void readiness(void) {
  if (!poller) {
    poller_start();
    return;
  }
  u32 capacity = below(80);
  switch (below(6)) {
    case 0:
      if (chance(30)) poller_stop();
      return;
    case 1: checked_result(poller_remove(poller, any_fd())); return;
    case 2: {
      struct ready *out = memory_of(capacity * sizeof *out);
      int count = checked_result(poller_wait(poller, out, capacity));
      CHECK(count <= (int)capacity);
      return;
    }
    default: {
      u32 events = chance(4) ? (u32)draw() & ~(1u << 28) : chance(2) ? 1 : 4;
      checked_result(poller_arm(poller, any_fd(), events, chance(2), draw()));
    }
  }
}

/* ------------------------------------------------------------------------------------ main ---- */

static void (*const calls[])(void) = {
    open_sockets,     close_one,        name_or_connect, join_sockets, send_messages, send_one,
    receive_messages, receive_messages, options,         scatter,      readiness,     interfaces,
    descriptors_of_all_kinds, receive_descriptors,
};

static void inject_any_fault(void) {
  static const int errors[] = {EINTR, ENOMEM, EAGAIN, ENOBUFS, 1, 5, EMFILE, EINVAL};
  enum call call = (enum call)below(CALLS);
  inject_fault(call, (int)below(3), 1 + (int)below(3), errors[below(8)]);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  long total = atol(arguments[1]);
  u64 seed = strtoull(arguments[2], 0, 10);
  state = seed * 0x9e3779b97f4a7c15ull + 1;
  section = "fuzz";
  int before = descriptors_open();
  owner = descriptors_create();
  for (long i = 0; i < total && checks_failed == 0; i++) {
    if (chance(16)) inject_any_fault();
    calls[below(sizeof calls / sizeof calls[0])]();
    clear_faults();
    free_all();
  }
  poller_stop();
  while (fd_count > 0) close_one();
  descriptors_destroy(owner, 0);
  CHECK_EQ(descriptors_open(), before);
  printf("%ld calls, seed %llu, %d checks failed\n", total, (unsigned long long)seed, checks_failed);
  return checks_failed != 0;
}
