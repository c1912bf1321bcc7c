/*
 * The system calls that Bun does not offer, and nothing else: batches of datagrams, sockets and
 * their options, which offloads the kernel has, and ways to have Bun's event loop told when a
 * descriptor becomes ready.
 *
 * Compiled at run time by the TinyCC inside Bun, on machines that may have no C headers, so it
 * includes none: every struct below is kernel ABI, the same on x86-64 and arm64, glibc and musl.
 * test/ffi/ compiles it by gcc as well and compares sizes and constants with the real headers.
 *
 * Rules: an entry returns >= 0, or -errno. No malloc. Nothing here keeps a pointer that it was
 * given past its return, save where a SAFETY comment says who owns that memory and for how long.
 */

#define SHIM_ABI 7

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;

/* libc, found in the running process; Bun itself is linked to each of them. */
extern long syscall(long number, ...);
extern int *__errno_location(void);
extern int socket(int domain, int type, int protocol);
extern int socketpair(int domain, int type, int protocol, int fds[2]);
extern int bind(int fd, const void *address, u32 length);
extern int connect(int fd, const void *address, u32 length);
extern int getsockname(int fd, void *address, u32 *length);
extern int getpeername(int fd, void *address, u32 *length);
extern int setsockopt(int fd, int level, int name, const void *value, u32 length);
extern int getsockopt(int fd, int level, int name, void *value, u32 *length);
extern int fcntl(int fd, int command, ...);
extern int dup3(int from, int to, int flags);
extern int close(int fd);
extern int open(const char *path, int flags, ...);
extern long read(int fd, void *bytes, unsigned long length);
extern long readlinkat(int folder, const char *path, char *target, unsigned long length);
extern int snprintf(char *text, unsigned long length, const char *format, ...);
extern int sscanf(const char *text, const char *format, ...);
extern int clock_gettime(int clock, void *time);
extern long send(int fd, const void *bytes, unsigned long length, int flags);
extern void *mmap(void *at, unsigned long length, int protection, int flags, int fd, long offset);
extern void *memcpy(void *to, const void *from, unsigned long length);
extern void *memset(void *at, int byte, unsigned long length);
extern int memcmp(const void *left, const void *right, unsigned long length);
extern int munmap(void *at, unsigned long length);
extern int epoll_create1(int flags);
extern int epoll_ctl(int epoll, int operation, int fd, void *event);
extern int epoll_wait(int epoll, void *events, int count, int timeout_ms);
extern int pthread_create(u64 *thread, const void *attributes, void *(*start)(void *), void *);
extern int pthread_join(u64 thread, void **result);
extern int pthread_sigmask(int how, const void *set, void *old);

/* <asm/unistd.h>: the generic table, and x86-64's own. */
#if defined(__x86_64__)
#define SYS_RECVMMSG 299
#define SYS_SENDMMSG 307
#define SYS_GETDENTS64 217
#elif defined(__aarch64__)
#define SYS_RECVMMSG 243
#define SYS_SENDMMSG 269
#define SYS_GETDENTS64 61
#else
#error "datagram-socket: the shim knows x86-64 and arm64 only"
#endif

#define ENOENT 2
#define EINTR 4
#define EAGAIN 11

/* A call that is interrupted this often has a signal storm to report. */
#define EINTR_RETRIES_MAX 64

static long checked(long result) {
  return result < 0 ? -(long)*__errno_location() : result;
}

/* ------------------------------------------------------------------ batches of datagrams ---- */

#define MSG_DONTWAIT 0x40
#define MSG_TRUNC 0x20
#define MSG_NOSIGNAL 0x4000

/* <linux/socket.h>: what the kernel reads, which is not musl's own msghdr to the letter. */
struct msghdr {
  void *name;
  u32 name_length;
  u32 padding0;
  void *vector;
  u64 vector_length;
  void *control;
  u64 control_length;
  u32 flags;
  u32 padding1;
};

struct mmsghdr {
  struct msghdr header;
  u32 length;
  u32 padding;
};

struct iovec {
  void *base;
  u64 length;
};

_Static_assert(sizeof(struct msghdr) == 56, "msghdr");
_Static_assert(sizeof(struct mmsghdr) == 64, "mmsghdr");
_Static_assert(sizeof(struct iovec) == 16, "iovec");

/*
 * Receives up to `count` datagrams without waiting; answers how many came.
 *
 * Name length, control length and flags are in/out: the kernel wrote what the last call had, so
 * each is set again. MSG_TRUNC as an argument makes `length` the datagram's real length, however
 * little of it fitted.
 *
 * SAFETY: `messages` and all it points to is owned by the caller's MessageVector, which holds
 * every buffer until the call returns; the kernel keeps none of it.
 */
int batch_receive(int fd, struct mmsghdr *messages, u32 count, u32 name_capacity,
                  u32 control_capacity, int flags) {
  for (u32 i = 0; i < count; i++) {
    struct msghdr *header = &messages[i].header;
    header->name_length = name_capacity;
    header->control_length = control_capacity;
    header->flags = 0;
  }
  long result;
  int tries = 0;
  do {
    result = checked(syscall(SYS_RECVMMSG, (long)fd, messages, (long)count,
                             (long)(MSG_DONTWAIT | MSG_TRUNC | flags), (void *)0));
  } while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);
  return (int)result;
}

/*
 * Sends up to `count` datagrams without waiting; answers how many went, or the error of the first
 * if none did. The kernel drops the error that ended a batch early: the caller's matter.
 *
 * SAFETY: as batch_receive.
 */
int batch_send(int fd, struct mmsghdr *messages, u32 count) {
  long result;
  int tries = 0;
  do {
    result = checked(syscall(SYS_SENDMMSG, (long)fd, messages, (long)count,
                             (long)(MSG_DONTWAIT | MSG_NOSIGNAL)));
  } while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);
  return (int)result;
}

/*
 * Copies a message of `length` bytes, which are datagrams of `stride` bytes (the last may be
 * shorter), to the first `count` of `targets`, each as far as it goes there. Answers the bytes
 * copied.
 *
 * SAFETY: `bytes` are the caller's for the call; `targets` are iovecs of a vector that holds their
 * buffers, and say how long those are.
 */
u32 batch_scatter(const u8 *bytes, u32 length, u32 stride, const struct iovec *targets,
                  u32 count) {
  u32 copied = 0;
  for (u32 i = 0; i < count; i++) {
    u32 size = length < stride ? length : stride;
    u32 fitting = size < targets[i].length ? size : (u32)targets[i].length;
    memcpy(targets[i].base, bytes, fitting);
    copied += fitting;
    bytes += size;
    length -= size;
  }
  return copied;
}

/* ------------------------------------------------------------------------------- memory ---- */

#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22

/*
 * Zeroed memory that takes up none until it is written to, or 0.
 *
 * SAFETY: owned by the ArrayBuffer made over it, freed by memory_unmap.
 */
void *memory_map(u64 length) {
  void *memory = mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  return memory == (void *)-1 ? 0 : memory;
}

/* The destructor of the ArrayBuffer over such memory; its context is the length. */
void memory_unmap(void *memory, void *length) {
  munmap(memory, (unsigned long)length);
}

/* -------------------------------------------------------------- sockets and descriptors ---- */

#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000
#define F_GETFL 3
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030
#define O_NONBLOCK 04000

/*
 * Which descriptors are this thread's to close, from the moment that they are open: a Worker may
 * be terminated between any two lines of JavaScript. Each thread compiles this file for itself, so
 * its statics are the thread's own. Numbers beyond are closed by JavaScript alone.
 */
#define OWNED_MAX 1048576
static u8 owned[OWNED_MAX / 8];

void descriptor_own(int fd) {
  if (fd >= 0 && fd < OWNED_MAX) owned[fd >> 3] |= (u8)(1 << (fd & 7));
}

/* From now on it is somebody else's to close. */
void descriptor_disown(int fd) {
  if (fd >= 0 && fd < OWNED_MAX) owned[fd >> 3] &= (u8)~(1 << (fd & 7));
}

/* What an ArrayBuffer is made over whose destructor is descriptors_close. */
void *descriptors_owned(void) {
  return owned;
}

/*
 * Closes all that are still owned. Runs on whichever thread finalizes the heap, when no JavaScript
 * of that heap runs any more.
 */
void descriptors_close(void *memory, void *context) {
  (void)memory;
  (void)context;
  for (int i = 0; i < OWNED_MAX / 8; i++)
    for (int bit = 0; owned[i]; bit++)
      if (owned[i] & (1 << bit)) {
        owned[i] &= (u8)~(1 << bit);
        close(i * 8 + bit);
      }
}

int socket_open(int domain, int type, int protocol) {
  int fd = (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  descriptor_own(fd);
  return fd;
}

static int pair_unowned(int domain, int type, int *fds) {
  return (int)checked(socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

/* SAFETY: `fds` is two ints of the caller's, written before the return. */
int socket_pair(int domain, int type, int *fds) {
  int result = pair_unowned(domain, type, fds);
  if (result < 0) return result;
  descriptor_own(fds[0]);
  descriptor_own(fds[1]);
  return result;
}

/* SAFETY (all four): `address` is `length` bytes of the caller's, used before the return only. */
int socket_bind(int fd, const void *address, u32 length) {
  return (int)checked(bind(fd, address, length));
}

/* A datagram socket connects at once; the retry is for a signal that arrives just then. */
int socket_connect(int fd, const void *address, u32 length) {
  long result;
  int tries = 0;
  do {
    result = checked(connect(fd, address, length));
  } while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);
  return (int)result;
}

/* Answers the length of the address. */
int socket_name(int fd, void *address, u32 capacity) {
  u32 length = capacity;
  long result = checked(getsockname(fd, address, &length));
  return result < 0 ? (int)result : (int)length;
}

int socket_peer_name(int fd, void *address, u32 capacity) {
  u32 length = capacity;
  long result = checked(getpeername(fd, address, &length));
  return result < 0 ? (int)result : (int)length;
}

/* SAFETY (both): `value` is `length` bytes of the caller's, used before the return only. */
int option_set(int fd, int level, int name, const void *value, u32 length) {
  return (int)checked(setsockopt(fd, level, name, value, length));
}

/* Answers the length of the value. */
int option_get(int fd, int level, int name, void *value, u32 capacity) {
  u32 length = capacity;
  long result = checked(getsockopt(fd, level, name, value, &length));
  return result < 0 ? (int)result : (int)length;
}

int descriptor_flags(int fd) {
  return (int)checked(fcntl(fd, F_GETFL));
}

int descriptor_set_nonblocking(int fd) {
  long flags = checked(fcntl(fd, F_GETFL));
  return flags < 0 ? (int)flags : (int)checked(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int descriptor_duplicate(int fd) {
  int duplicate = (int)checked(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  descriptor_own(duplicate);
  return duplicate;
}

/* Linux frees the number even when close fails, so there is nothing to try again. */
int descriptor_close(int fd) {
  descriptor_disown(fd);
  return (int)checked(close(fd));
}

/*
 * Reads a clock of <time.h> into `time`: seconds, nanoseconds (`struct timespec`, 64 bits each).
 *
 * SAFETY: `time` is 16 bytes of the caller's, written before the return.
 */
int clock_read(int clock, void *time) {
  return (int)checked(clock_gettime(clock, time));
}

/* -------------------------------------------------------------------------------- offload ---- */

#define AF_INET 2
#define SOCK_DGRAM 2
#define IPPROTO_UDP 17
#define UDP_SEGMENT 103
#define UDP_GRO 104

/* What the probe sends: datagrams of 100, 100 and 40 bytes. */
#define PROBE_DATAGRAMS 3
#define PROBE_STRIDE 100
#define PROBE_BYTES 240

struct inet_address {
  u16 family, port;
  u32 address;
  u8 zero[8];
};

/* A control message (cmsg(3)) with one number, the length of a message's datagrams. */
struct stride_control {
  u64 length;
  i32 level;
  i32 type;
  i32 stride;
  i32 padding;
};

/* 16 bits of the number are what UDP_SEGMENT takes. */
#define SEGMENT_CONTROL_BYTES (16 + 2)

_Static_assert(sizeof(struct inet_address) == 16, "inet_address");
_Static_assert(sizeof(struct stride_control) == 24, "stride_control");

/*
 * Sends the probe's datagrams as segments of one message: whether they come as they were, in
 * `expected` messages.
 */
static int segments_pass(int from, int to, int expected) {
  u8 sent[PROBE_BYTES], received[PROBE_DATAGRAMS][PROBE_BYTES];
  for (int i = 0; i < PROBE_BYTES; i++) sent[i] = (u8)i;
  struct iovec pieces[PROBE_DATAGRAMS];
  struct stride_control controls[PROBE_DATAGRAMS];
  struct mmsghdr messages[PROBE_DATAGRAMS];
  memset(messages, 0, sizeof messages);
  for (int m = 0; m < PROBE_DATAGRAMS; m++) {
    messages[m].header.vector = &pieces[m];
    messages[m].header.vector_length = 1;
    messages[m].header.control = &controls[m];
    pieces[m].length = PROBE_BYTES;
  }

  pieces[0].base = sent;
  controls[0].length = SEGMENT_CONTROL_BYTES;
  controls[0].level = IPPROTO_UDP;
  controls[0].type = UDP_SEGMENT;
  controls[0].stride = PROBE_STRIDE;
  messages[0].header.control_length = sizeof controls[0];
  if (batch_send(from, messages, 1) != 1) return 0;

  for (int m = 0; m < PROBE_DATAGRAMS; m++) pieces[m].base = received[m];
  int count = batch_receive(to, messages, PROBE_DATAGRAMS, 0, sizeof controls[0], 0);
  if (count != expected) return 0;
  u32 at = 0;
  for (int m = 0; m < count; m++) {
    u32 left = PROBE_BYTES - at, length = messages[m].length;
    int is_coalesced = messages[m].header.control_length > 0 && controls[m].type == UDP_GRO;
    u32 stride = is_coalesced ? (u32)controls[m].stride : length;
    if (stride != (left < PROBE_STRIDE ? left : PROBE_STRIDE) || length > left) return 0;
    if (memcmp(received[m], sent + at, length) != 0) return 0;
    at += length;
  }
  return at == PROBE_BYTES;
}

/*
 * Which offloads work, found out over loopback, as setsockopt may succeed where sending then
 * fails: 0 for none, 1 where a message is cut up to datagrams (UDP_SEGMENT), 2 where a receiver
 * may also have them in one piece (UDP_GRO).
 */
int offload_probe(void) {
  struct inet_address address;
  u32 length = sizeof address;
  memset(&address, 0, sizeof address);
  address.family = AF_INET;
  address.address = 0x0100007f;
  int on = 1, works = 0;
  int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int sender = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (bind(receiver, &address, length) == 0 && getsockname(receiver, &address, &length) == 0 &&
      connect(sender, &address, length) == 0 && segments_pass(sender, receiver, PROBE_DATAGRAMS)) {
    works = 1;
    if (setsockopt(receiver, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0 &&
        segments_pass(sender, receiver, 1))
      works = 2;
  }
  if (receiver >= 0) close(receiver);
  if (sender >= 0) close(sender);
  return works;
}

/* ------------------------------------------------------------------------------ readiness ---- */

#define EPOLLIN 1u
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)
#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3
#define EPOLL_CLOEXEC 02000000
#define AF_UNIX 1
#define SOCK_STREAM 1
#define SIG_SETMASK 2
#define EPOLL_EVENTS_MAX 64

/* Packed on x86-64 only: <linux/eventpoll.h>. */
struct epoll_event {
  u32 events;
  u64 data;
}
#if defined(__x86_64__)
__attribute__((packed))
#endif
;

/* Tokens name who waits. */
struct ready {
  u64 token;
  u32 events;
  u32 padding;
};

/*
 * All that one JavaScript thread waits with: an epoll instance of its own for its sockets, which
 * something else has to watch, since the thread sleeps in Bun's event loop. Two ways to do that:
 * Bun's loop itself watches it (loop_open), or a helper thread does and rings (helper_open).
 *
 * It lives in memory of its own, which JavaScript sees as an ArrayBuffer: when the thread's heap
 * goes, a terminated Worker's too, the buffer's destructor (reactor_destroy) runs.
 */
struct reactor {
  i32 watched; /* epoll: the sockets that are waited for */

  /* The helper thread's. */
  i32 has_helper;
  i32 bell;    /* where one byte wakes the event loop; owned */
  i32 watcher; /* epoll: `watched` and `quit` */
  i32 quit;    /* a socket pair whose end of life is the helper's order to stop */
  i32 quit_end;
  u64 thread;
};

/* SAFETY: owned by the ArrayBuffer made over it, freed by reactor_destroy. */
struct reactor *reactor_create(void) {
  struct reactor *reactor = memory_map(sizeof(struct reactor));
  if (!reactor) return 0;
  reactor->watched = reactor->bell = reactor->watcher = reactor->quit = reactor->quit_end = -1;
  return reactor;
}

#define O_RDONLY 0
#define O_CLOEXEC 02000000

/*
 * Where the descriptors of this process are listed, what an epoll instance among them is called,
 * where it tells what it watches, and in which words (proc(5)).
 */
#define DESCRIPTORS "/proc/self/fd"
#define EPOLL_LINK "anon_inode:[eventpoll]"
#define EPOLL_ENTRIES "/proc/self/fdinfo/%s"
#define EPOLL_ENTRY "tfd: %d events: %x data: %llx"

/* <linux/dirent.h>: what getdents64 writes. */
struct directory_entry {
  u64 inode;
  u64 next;
  u16 length;
  u8 type;
  char name[];
};

_Static_assert(sizeof(struct directory_entry) == 24, "directory_entry");

/* How often the epoll instance `name` watches `fd`; what it tells then goes to `data`. */
static int watches_of(const char *name, int fd, u64 *data) {
  char path[64], chunk[1024], line[80];
  snprintf(path, sizeof path, EPOLL_ENTRIES, name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  int found = 0;
  u32 length = 0;
  long bytes;
  while ((bytes = read(file, chunk, sizeof chunk)) > 0) {
    for (long i = 0; i < bytes; i++) {
      if (chunk[i] != '\n') {
        /* What is behind the data matters to nobody. */
        if (length < sizeof line - 1) line[length++] = chunk[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      int watched;
      u32 events;
      u64 told;
      if (sscanf(line, EPOLL_ENTRY, &watched, &events, &told) == 3 && watched == fd) {
        *data = told;
        found++;
      }
    }
  }
  close(file);
  return found;
}

/*
 * Finds who watches `fd`: answers the epoll instance, and `data` is what that tells when `fd` is
 * ready. -ENOENT where that cannot be seen, or is not certain: an entry outlives its descriptor
 * while a duplicate is open, and the number may be another's by then.
 *
 * SAFETY: `data` is 8 bytes of the caller's, written before the return.
 */
int watch_find(int fd, u64 *data) {
  u64 entries[128];
  char target[sizeof EPOLL_LINK];
  int folder = open(DESCRIPTORS, O_RDONLY | O_CLOEXEC);
  if (folder < 0) return -ENOENT;
  int epoll = -1, found = 0;
  long bytes;
  while ((bytes = syscall(SYS_GETDENTS64, (long)folder, entries, (long)sizeof entries)) > 0) {
    struct directory_entry *entry;
    for (long at = 0; at < bytes; at += entry->length) {
      entry = (struct directory_entry *)((u8 *)entries + at);
      long length = readlinkat(folder, entry->name, target, sizeof target);
      if (length != sizeof EPOLL_LINK - 1 || memcmp(target, EPOLL_LINK, length) != 0) continue;
      int times = watches_of(entry->name, fd, data);
      if (times > 0) sscanf(entry->name, "%d", &epoll);
      found += times;
    }
  }
  close(folder);
  return found == 1 ? epoll : -ENOENT;
}

/*
 * Has Bun's event loop watch `watched` itself. `bell` is a descriptor that the loop, whose epoll
 * instance is `loop`, watches for reading with `data`: the number is made to mean `watched`, and
 * is watched again in the same words. Bun then finds the bell readable whenever a socket is ready,
 * cannot read it (ENOTSOCK), and says so.
 *
 * The kernel knows what is watched by file and number, so what Bun does to the number from here on
 * (to change its interest, or to stop watching before it closes it) it does to this watch.
 */
int loop_open(struct reactor *reactor, int loop, int bell, u64 data) {
  struct epoll_event event;
  event.events = EPOLLIN;
  event.data = data;
  long result = checked(reactor->watched = epoll_create1(EPOLL_CLOEXEC));
  /* The file that `bell` was is closed by this, and no longer watched. */
  if (result >= 0) result = checked(dup3(reactor->watched, bell, EPOLL_CLOEXEC));
  if (result >= 0) result = checked(epoll_ctl(loop, EPOLL_CTL_ADD, bell, &event));
  if (result >= 0) return 0;
  if (reactor->watched >= 0) close(reactor->watched);
  reactor->watched = -1;
  return (int)result;
}

/*
 * Rings the bell each time something in `watched` becomes ready. It takes nothing out of it, so
 * it shares no memory that JavaScript writes while it runs, and needs no atomics.
 */
static void *helper_main(void *argument) {
  struct reactor *reactor = argument;
  struct epoll_event events[2];
  for (;;) {
    int count = epoll_wait(reactor->watcher, events, 2, -1);
    if (count < 0 && *__errno_location() != EINTR) return 0;
    for (int i = 0; i < count; i++) {
      if (events[i].data == 0) return 0;
      u8 byte = 1;
      send(reactor->bell, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }
}

static void helper_close(struct reactor *reactor) {
  if (reactor->quit_end >= 0) close(reactor->quit_end);
  reactor->quit_end = -1;
  if (reactor->has_helper) pthread_join(reactor->thread, 0);
  reactor->has_helper = 0;
  if (reactor->quit >= 0) close(reactor->quit);
  if (reactor->watcher >= 0) close(reactor->watcher);
  if (reactor->watched >= 0) close(reactor->watched);
  reactor->watched = reactor->watcher = reactor->quit = -1;
}

/* Has a helper thread watch `watched` and send bytes to `bell`, which Bun's event loop hears. */
int helper_open(struct reactor *reactor, int bell) {
  int ends[2];
  long result = checked(reactor->watched = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = checked(reactor->watcher = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = pair_unowned(AF_UNIX, SOCK_STREAM, ends);
  if (result >= 0) {
    reactor->quit = ends[0];
    reactor->quit_end = ends[1];
    struct epoll_event event;
    event.events = EPOLLIN | EPOLLET; /* one ring for each new event, however late it is taken */
    event.data = 1;
    result = checked(epoll_ctl(reactor->watcher, EPOLL_CTL_ADD, reactor->watched, &event));
    event.events = EPOLLIN;
    event.data = 0;
    if (result >= 0)
      result = checked(epoll_ctl(reactor->watcher, EPOLL_CTL_ADD, reactor->quit, &event));
  }
  if (result >= 0) {
    /* The process's signals are for its own threads: this one starts with all blocked. */
    u64 all[16], old[16];
    for (int i = 0; i < 16; i++) all[i] = ~0ULL;
    pthread_sigmask(SIG_SETMASK, all, old);
    reactor->bell = bell;
    result = -(long)pthread_create(&reactor->thread, 0, helper_main, reactor);
    pthread_sigmask(SIG_SETMASK, old, 0);
  }
  if (result < 0) {
    reactor->bell = -1;
    helper_close(reactor);
    return (int)result;
  }
  reactor->has_helper = 1;
  descriptor_disown(bell);
  return 0;
}

/*
 * Has `fd` reported with `token` while it has one of `events`; errors are reported always. With
 * `is_once` it is reported one time and then forgotten.
 */
int reactor_arm(struct reactor *reactor, int fd, u32 events, int is_once, u64 token) {
  struct epoll_event event;
  event.events = is_once ? events | EPOLLONESHOT : events;
  event.data = token;
  long result = checked(epoll_ctl(reactor->watched, EPOLL_CTL_MOD, fd, &event));
  if (result == -ENOENT)
    result = checked(epoll_ctl(reactor->watched, EPOLL_CTL_ADD, fd, &event));
  return (int)result;
}

/* Ends what reactor_arm began. To be done before `fd` is closed: a duplicate would be reported. */
int reactor_disarm(struct reactor *reactor, int fd) {
  struct epoll_event event;
  return (int)checked(epoll_ctl(reactor->watched, EPOLL_CTL_DEL, fd, &event));
}

/* Who is ready, `capacity` of them at most. SAFETY: `out` is the caller's, for the call only. */
int reactor_reap(struct reactor *reactor, struct ready *out, u32 capacity) {
  struct epoll_event events[EPOLL_EVENTS_MAX];
  u32 limit = capacity < EPOLL_EVENTS_MAX ? capacity : EPOLL_EVENTS_MAX;
  long count = checked(epoll_wait(reactor->watched, events, (int)limit, 0));
  for (long i = 0; i < count; i++) {
    out[i].token = events[i].data;
    out[i].events = events[i].events;
  }
  return count == -EINTR ? 0 : (int)count;
}

/*
 * The destructor of the ArrayBuffer over a reactor: ends the helper, closes what is the reactor's.
 * Runs on whichever thread finalizes the heap, when no JavaScript of that heap runs any more.
 */
void reactor_destroy(void *memory, void *context) {
  struct reactor *reactor = memory;
  (void)context;
  helper_close(reactor);
  if (reactor->bell >= 0) close(reactor->bell);
  munmap(reactor, sizeof *reactor);
}

u32 reactor_bytes(void) {
  return sizeof(struct reactor);
}

int shim_abi(void) {
  return SHIM_ABI;
}

/* In the order of ffi/symbols.ts, which a test holds against this list. */
static void *const entries[] = {
    (void *)shim_abi,
    (void *)batch_receive,
    (void *)batch_send,
    (void *)batch_scatter,
    (void *)memory_map,
    (void *)memory_unmap,
    (void *)descriptor_own,
    (void *)descriptor_disown,
    (void *)descriptors_owned,
    (void *)descriptors_close,
    (void *)socket_open,
    (void *)socket_pair,
    (void *)socket_bind,
    (void *)socket_connect,
    (void *)socket_name,
    (void *)socket_peer_name,
    (void *)option_set,
    (void *)option_get,
    (void *)descriptor_flags,
    (void *)descriptor_set_nonblocking,
    (void *)descriptor_duplicate,
    (void *)descriptor_close,
    (void *)clock_read,
    (void *)offload_probe,
    (void *)reactor_create,
    (void *)reactor_bytes,
    (void *)reactor_destroy,
    (void *)watch_find,
    (void *)loop_open,
    (void *)helper_open,
    (void *)reactor_arm,
    (void *)reactor_disarm,
    (void *)reactor_reap,
};

/* The address of an entry, for linkSymbols, whose calls cost a third of cc's own. */
void *shim_entry(u32 index) {
  return index < sizeof entries / sizeof entries[0] ? entries[index] : 0;
}
