/*
 * The system calls that Bun does not offer, and nothing else: batches of datagrams, sockets and
 * their options, and a bell that rings Bun's event loop when a descriptor becomes ready.
 *
 * Compiled at run time by the TinyCC inside Bun, on machines that may have no C headers, so it
 * includes none: every struct below is kernel ABI, the same on x86-64 and arm64, glibc and musl.
 * test/ffi/ compiles it by gcc as well and compares sizes and constants with the real headers.
 *
 * Rules: an entry returns >= 0, or -errno. No malloc. Nothing here keeps a pointer that it was
 * given past its return, save where a SAFETY comment says who owns that memory and for how long.
 */

#define SHIM_ABI 3

typedef unsigned char u8;
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
extern int close(int fd);
extern int clock_gettime(int clock, void *time);
extern long send(int fd, const void *bytes, unsigned long length, int flags);
extern long read(int fd, void *bytes, unsigned long length);
extern void *mmap(void *at, unsigned long length, int protection, int flags, int fd, long offset);
extern void *memcpy(void *to, const void *from, unsigned long length);
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
#elif defined(__aarch64__)
#define SYS_RECVMMSG 243
#define SYS_SENDMMSG 269
#else
#error "datagram-socket: the shim knows x86-64 and arm64 only"
#endif
#define SYS_IO_URING_SETUP 425
#define SYS_IO_URING_ENTER 426

#define EINTR 4
#define EAGAIN 11
#define EBUSY 16

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

struct piece {
  u32 offset; /* from `bytes` */
  u32 length;
};

/*
 * Copies pieces of `bytes` to where the first `count` of `targets` point, each into its own.
 *
 * SAFETY: `bytes` and `pieces` are the caller's for the call; `targets` are iovecs of a vector that
 * holds their buffers. The caller checked that every piece lies in `bytes` and fits its target.
 */
void batch_scatter(const u8 *bytes, const struct piece *pieces, const struct iovec *targets,
                   u32 count) {
  for (u32 i = 0; i < count; i++)
    memcpy(targets[i].base, bytes + pieces[i].offset, pieces[i].length);
}

/* -------------------------------------------------------------- sockets and descriptors ---- */

#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000
#define F_GETFL 3
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030
#define O_NONBLOCK 04000

int socket_open(int domain, int type, int protocol) {
  return (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

/* SAFETY: `fds` is two ints of the caller's, written before the return. */
int socket_pair(int domain, int type, int *fds) {
  return (int)checked(socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
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
  return (int)checked(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/* Linux frees the number even when close fails, so there is nothing to try again. */
int descriptor_close(int fd) {
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

/* --------------------------------------------------------- readiness: shared by both ways ---- */

#define PROT_READ_WRITE 3
#define MAP_SHARED_POPULATE 0x8001
#define MAP_PRIVATE_ANONYMOUS 0x22

/* Tokens name who waits: a token of 0 is nobody, for requests whose end interests nobody. */
struct ready {
  u64 token;
  u32 events;
  u32 padding;
};

#define SOCKETS_MAX 65536

/*
 * All that one JavaScript thread waits with. It lives in memory of its own, which JavaScript sees
 * as an ArrayBuffer: when the thread's heap goes, the buffer's destructor (reactor_destroy) runs,
 * and every descriptor the thread still had is closed, terminated Workers included.
 */
struct reactor {
  i32 mode; /* 0 none, 1 io_uring, 2 thread */
  i32 bell; /* where one byte wakes the event loop; owned */

  i32 ring;
  u32 ring_bytes;
  u32 sqe_bytes;
  u32 sq_head, sq_tail, sq_mask, sq_array, sq_flags;
  u32 cq_head, cq_tail, cq_mask, cqes;
  u8 *rings;
  struct sqe *sqes;

  i32 watched; /* epoll: one-shot interests, set by the JavaScript thread */
  i32 watcher; /* epoll: `watched` and `quit`, waited on by the helper thread */
  i32 quit;    /* a socket pair whose end of life is the helper's order to stop */
  i32 quit_end;
  u64 thread;

  i32 descriptors[SOCKETS_MAX]; /* fd + 1 of every open socket by its slot, 0 for none */
};

/* SAFETY: owned by the ArrayBuffer made over it, freed by reactor_destroy. */
struct reactor *reactor_create(void) {
  void *memory = mmap(0, sizeof(struct reactor), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  if (memory == (void *)-1) return 0;
  struct reactor *reactor = memory;
  reactor->bell = reactor->ring = -1;
  reactor->watched = reactor->watcher = reactor->quit = reactor->quit_end = -1;
  return reactor;
}

/* ------------------------------------------------------------------ readiness by io_uring ---- */

struct sqe {
  u8 opcode;
  u8 flags;
  unsigned short priority;
  i32 fd;
  u64 offset;
  u64 address;
  u32 length;
  u32 operation_flags;
  u64 user_data;
  u64 padding[3];
};

struct cqe {
  u64 user_data;
  i32 result;
  u32 flags;
};

struct ring_parameters {
  u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, reserved[3];
  struct {
    u32 head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
    u64 user_address;
  } sq;
  struct {
    u32 head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved;
    u64 user_address;
  } cq;
};

_Static_assert(sizeof(struct sqe) == 64, "io_uring_sqe");
_Static_assert(sizeof(struct cqe) == 16, "io_uring_cqe");
_Static_assert(sizeof(struct ring_parameters) == 120, "io_uring_params");

#define IORING_OFF_SQES 0x10000000
#define IORING_SETUP_CQSIZE (1u << 3)
#define IORING_SETUP_CLAMP (1u << 4)
#define IORING_SETUP_COOP_TASKRUN (1u << 8)
#define IORING_FEAT_SINGLE_MMAP (1u << 0)
#define IORING_FEAT_NODROP (1u << 1)
#define IORING_ENTER_GETEVENTS 1u
#define IORING_SQ_CQ_OVERFLOW 2u
#define IORING_OP_POLL_ADD 6
#define IORING_OP_POLL_REMOVE 7
#define IORING_OP_SEND 26
#define IOSQE_IO_LINK 4
#define ENOSYS 38

#define SQ_ENTRIES 8
#define CQ_ENTRIES 4096

static volatile u32 *ring_word(struct reactor *reactor, u32 offset) {
  return (volatile u32 *)(reactor->rings + offset);
}

static void ring_close(struct reactor *reactor) {
  if (reactor->sqes) munmap(reactor->sqes, reactor->sqe_bytes);
  if (reactor->rings) munmap(reactor->rings, reactor->ring_bytes);
  if (reactor->ring >= 0) close(reactor->ring);
  reactor->sqes = 0;
  reactor->rings = 0;
  reactor->ring = -1;
}

/* Makes io_uring the way that `bell` is rung; -EPERM or -ENOSYS where it is forbidden or absent. */
int ring_open(struct reactor *reactor, int bell) {
  struct ring_parameters parameters;
  long ring = -1;
  /* Kernels before 5.19 know no COOP_TASKRUN, which saves interrupts to a busy thread. */
  for (u32 cooperative = IORING_SETUP_COOP_TASKRUN;; cooperative = 0) {
    u8 *bytes = (u8 *)&parameters;
    for (u32 i = 0; i < sizeof parameters; i++) bytes[i] = 0;
    parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | cooperative;
    parameters.cq_entries = CQ_ENTRIES;
    ring = checked(syscall(SYS_IO_URING_SETUP, (long)SQ_ENTRIES, &parameters));
    if (ring >= 0 || !cooperative) break;
  }
  if (ring < 0) return (int)ring;
  reactor->ring = (i32)ring;
  u32 needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP;
  if ((parameters.features & needed) != needed) {
    ring_close(reactor);
    return -ENOSYS;
  }
  u32 sq_bytes = parameters.sq.array + parameters.sq_entries * (u32)sizeof(u32);
  u32 cq_bytes = parameters.cq.cqes + parameters.cq_entries * (u32)sizeof(struct cqe);
  reactor->ring_bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
  reactor->sqe_bytes = parameters.sq_entries * (u32)sizeof(struct sqe);
  void *rings = mmap(0, reactor->ring_bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, (int)ring, 0);
  void *sqes = mmap(0, reactor->sqe_bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, (int)ring,
                    IORING_OFF_SQES);
  reactor->rings = rings == (void *)-1 ? 0 : rings;
  reactor->sqes = sqes == (void *)-1 ? 0 : sqes;
  if (!reactor->rings || !reactor->sqes) {
    ring_close(reactor);
    return -ENOSYS;
  }
  reactor->sq_head = parameters.sq.head;
  reactor->sq_tail = parameters.sq.tail;
  reactor->sq_mask = *ring_word(reactor, parameters.sq.ring_mask);
  reactor->sq_array = parameters.sq.array;
  reactor->sq_flags = parameters.sq.flags;
  reactor->cq_head = parameters.cq.head;
  reactor->cq_tail = parameters.cq.tail;
  reactor->cq_mask = *ring_word(reactor, parameters.cq.ring_mask);
  reactor->cqes = parameters.cq.cqes;
  reactor->bell = bell;
  reactor->mode = 1;
  return 0;
}

static struct sqe *ring_next(struct reactor *reactor, u32 *tail, int opcode, int fd, u64 token) {
  u32 index = *tail & reactor->sq_mask;
  struct sqe *entry = &reactor->sqes[index];
  u8 *bytes = (u8 *)entry;
  for (u32 i = 0; i < sizeof *entry; i++) bytes[i] = 0;
  entry->opcode = (u8)opcode;
  entry->fd = fd;
  entry->user_data = token;
  ((u32 *)(reactor->rings + reactor->sq_array))[index] = index;
  (*tail)++;
  return entry;
}

/*
 * Hands the entries up to `tail` to the kernel. Every submission enters the kernel before it
 * returns, so the queue is empty between calls and the system call orders the stores: no atomics.
 */
static int ring_submit(struct reactor *reactor, u32 tail, u32 count) {
  *ring_word(reactor, reactor->sq_tail) = tail;
  long result;
  int tries = 0;
  do {
    result = checked(syscall(SYS_IO_URING_ENTER, (long)reactor->ring, (long)count, 0L,
                             (long)IORING_ENTER_GETEVENTS, (void *)0, 0L));
  } while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);
  if (result == (long)count) return 0;
  /* What was not taken must not be submitted by a later call. */
  *ring_word(reactor, reactor->sq_tail) = *ring_word(reactor, reactor->sq_head);
  return result < 0 ? (int)result : -EBUSY;
}

/*
 * Once `fd` has one of `events` (POLLIN, POLLOUT; at once if it has them now), rings the bell and
 * leaves `token` for reactor_reap. One time only.
 *
 * SAFETY: the byte sent is static; the kernel holds its own reference to the file until the
 * request ends, which is why ring_disarm comes before close.
 */
static int ring_arm(struct reactor *reactor, int fd, u32 events, u64 token) {
  static const u8 byte = 1;
  u32 tail = *ring_word(reactor, reactor->sq_tail);
  struct sqe *poll = ring_next(reactor, &tail, IORING_OP_POLL_ADD, fd, token);
  poll->operation_flags = events;
  poll->flags = IOSQE_IO_LINK;
  struct sqe *ring = ring_next(reactor, &tail, IORING_OP_SEND, reactor->bell, 0);
  ring->address = (u64)(unsigned long)&byte;
  ring->length = 1;
  ring->operation_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  return ring_submit(reactor, tail, 2);
}

static int ring_disarm(struct reactor *reactor, u64 token) {
  u32 tail = *ring_word(reactor, reactor->sq_tail);
  ring_next(reactor, &tail, IORING_OP_POLL_REMOVE, -1, 0)->address = token;
  return ring_submit(reactor, tail, 1);
}

static int ring_reap(struct reactor *reactor, struct ready *out, u32 capacity) {
  if (*ring_word(reactor, reactor->sq_flags) & IORING_SQ_CQ_OVERFLOW)
    syscall(SYS_IO_URING_ENTER, (long)reactor->ring, 0L, 0L, (long)IORING_ENTER_GETEVENTS,
            (void *)0, 0L);
  u32 head = *ring_word(reactor, reactor->cq_head);
  u32 tail = *ring_word(reactor, reactor->cq_tail);
  u32 count = 0;
  while (head != tail && count < capacity) {
    struct cqe *entry = (struct cqe *)(reactor->rings + reactor->cqes) + (head & reactor->cq_mask);
    if (entry->user_data != 0) {
      out[count].token = entry->user_data;
      /* A request that failed or was cancelled counts as ready: who waited looks for himself. */
      out[count].events = entry->result < 0 ? 0 : (u32)entry->result;
      count++;
    }
    head++;
  }
  *ring_word(reactor, reactor->cq_head) = head;
  return (int)count;
}

/* --------------------------------------------------------- readiness by a helper thread ---- */

#define EPOLLIN 1u
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)
#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3
#define EPOLL_CLOEXEC 02000000
#define ENOENT 2
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
  if (reactor->mode == 2) pthread_join(reactor->thread, 0);
  if (reactor->quit >= 0) close(reactor->quit);
  if (reactor->watcher >= 0) close(reactor->watcher);
  if (reactor->watched >= 0) close(reactor->watched);
  reactor->watched = reactor->watcher = reactor->quit = -1;
}

/* Makes a helper thread the way that `bell` is rung. */
int helper_open(struct reactor *reactor, int bell) {
  int ends[2];
  long result = checked(reactor->watched = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = checked(reactor->watcher = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = socket_pair(AF_UNIX, SOCK_STREAM, ends);
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
  reactor->mode = 2;
  return 0;
}

static int helper_arm(struct reactor *reactor, int fd, u32 events, u64 token) {
  struct epoll_event event;
  event.events = events | EPOLLONESHOT;
  event.data = token;
  long result = checked(epoll_ctl(reactor->watched, EPOLL_CTL_MOD, fd, &event));
  if (result == -ENOENT)
    result = checked(epoll_ctl(reactor->watched, EPOLL_CTL_ADD, fd, &event));
  return (int)result;
}

static int helper_reap(struct reactor *reactor, struct ready *out, u32 capacity) {
  struct epoll_event events[EPOLL_EVENTS_MAX];
  u32 limit = capacity < EPOLL_EVENTS_MAX ? capacity : EPOLL_EVENTS_MAX;
  long count = checked(epoll_wait(reactor->watched, events, (int)limit, 0));
  for (long i = 0; i < count; i++) {
    out[i].token = events[i].data;
    out[i].events = events[i].events;
  }
  return count == -EINTR ? 0 : (int)count;
}

/* --------------------------------------------------------------- readiness: the entries ---- */

int reactor_arm(struct reactor *reactor, int fd, u32 events, u64 token) {
  if (reactor->mode == 1) return ring_arm(reactor, fd, events, token);
  return helper_arm(reactor, fd, events, token);
}

/* Ends what reactor_arm began, so that `fd` can be closed and its address is free at once. */
int reactor_disarm(struct reactor *reactor, int fd, u64 token) {
  if (reactor->mode == 1) return ring_disarm(reactor, token);
  struct epoll_event event;
  return (int)checked(epoll_ctl(reactor->watched, EPOLL_CTL_DEL, fd, &event));
}

/* Who is ready, `capacity` of them at most. SAFETY: `out` is the caller's, for the call only. */
int reactor_reap(struct reactor *reactor, struct ready *out, u32 capacity) {
  if (reactor->mode == 1) return ring_reap(reactor, out, capacity);
  return helper_reap(reactor, out, capacity);
}

/*
 * The destructor of the ArrayBuffer over a reactor: ends the helper, closes every descriptor.
 * Runs on whichever thread finalizes the heap, when no JavaScript of that heap runs any more.
 */
void reactor_destroy(void *memory, void *context) {
  struct reactor *reactor = memory;
  (void)context;
  helper_close(reactor);
  ring_close(reactor);
  for (int i = 0; i < SOCKETS_MAX; i++)
    if (reactor->descriptors[i]) close(reactor->descriptors[i] - 1);
  if (reactor->bell >= 0) close(reactor->bell);
  munmap(reactor, sizeof *reactor);
}

u32 reactor_bytes(void) {
  return sizeof(struct reactor);
}

u32 reactor_descriptors_offset(void) {
  return __builtin_offsetof(struct reactor, descriptors);
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
    (void *)reactor_create,
    (void *)reactor_bytes,
    (void *)reactor_descriptors_offset,
    (void *)reactor_destroy,
    (void *)ring_open,
    (void *)helper_open,
    (void *)reactor_arm,
    (void *)reactor_disarm,
    (void *)reactor_reap,
};

/* The address of an entry, for linkSymbols, whose calls cost a third of cc's own. */
void *shim_entry(u32 index) {
  return index < sizeof entries / sizeof entries[0] ? entries[index] : 0;
}
