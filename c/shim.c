/*
 * The system calls that Bun does not provide: batches of datagrams, sockets and their options, a
 * probe of the kernel's offloads, and an epoll instance that wakes Bun's event loop.
 *
 * Compiled at run time by the TinyCC in Bun, on machines that may have no C headers. It therefore
 * includes none, and declares every struct itself: they are kernel ABI, the same on x86-64 and
 * arm64, for glibc and musl. test/ffi/ also compiles it with gcc, and compares sizes and constants
 * with the headers.
 *
 * Rules: an entry returns >= 0 or -errno. No malloc. No pointer argument is kept after the return,
 * unless a SAFETY comment names the owner of the memory and how long it lives. No variable with
 * static storage duration is modified: all threads of a process use the same code and data.
 */

#define SHIM_ABI 13

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;

/* Functions of libc, resolved in the running process: Bun is linked to all of them. */
struct ifaddrs;
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
extern u32 if_nametoindex(const char *name);
extern int getifaddrs(struct ifaddrs **first);
extern void freeifaddrs(struct ifaddrs *first);
extern long send(int fd, const void *bytes, unsigned long length, int flags);
extern char *bindtextdomain(const char *name, const char *value);
extern void *mmap(void *at, unsigned long length, int protection, int flags, int fd, long offset);
extern void *memcpy(void *to, const void *from, unsigned long length);
extern void *memset(void *at, int byte, unsigned long length);
extern int memcmp(const void *left, const void *right, unsigned long length);
extern int strncmp(const char *left, const char *right, unsigned long length);
extern int munmap(void *at, unsigned long length);
extern void *mremap(void *at, unsigned long from, unsigned long to, int flags, ...);
extern int epoll_create1(int flags);
extern int epoll_ctl(int epoll, int operation, int fd, void *event);
extern int epoll_wait(int epoll, void *events, int count, int timeout_ms);
extern int timerfd_create(int clock, int flags);
extern int timerfd_settime(int fd, int flags, const void *time, void *old);
extern int pthread_create(u64 *thread, const void *attributes, void *(*start)(void *), void *);
extern int pthread_join(u64 thread, void **result);
extern int pthread_sigmask(int how, const void *set, void *old);

/* <asm/unistd.h>: the table of x86-64, and the generic one. */
#if defined(__x86_64__)
#define SYS_RECVMMSG 299
#define SYS_SENDMMSG 307
#define SYS_SENDTO 44
#define SYS_GETDENTS64 217
#define SYS_FSTAT 5
#elif defined(__aarch64__)
#define SYS_RECVMMSG 243
#define SYS_SENDMMSG 269
#define SYS_SENDTO 206
#define SYS_GETDENTS64 61
#define SYS_FSTAT 80
#else
#error "datagram-socket: the shim knows x86-64 and arm64 only"
#endif

#define ENOENT 2
#define ENODEV 19
#define EINTR 4
#define EBADF 9
#define EAGAIN 11
#define ENOMEM 12
#define ENFILE 23
#define EMFILE 24
#define ENOBUFS 105

/* Returns a system call's result, or -errno. */
static long checked(long result) {
  return result < 0 ? -(long)*__errno_location() : result;
}

/*
 * Sets `result` to the value of `call`, which is repeated while a signal interrupts it, up to a
 * limit: a process that is flooded with signals gets EINTR.
 */
#define EINTR_RETRIES_MAX 64
#define RETRY_EINTR(result, call)                                                                  \
  do {                                                                                             \
    int tries = 0;                                                                                 \
    do result = checked(call);                                                                     \
    while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);                                       \
  } while (0)

/* ------------------------------------------------------------------ batches of datagrams ---- */

#define MSG_DONTWAIT 0x40
#define MSG_TRUNC 0x20
#define MSG_NOSIGNAL 0x4000

/* <linux/socket.h>: the kernel's layout. The msghdr of musl has padding instead of wide fields. */
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
 * Receives up to `count` messages without blocking, and returns their number.
 *
 * Name length, control length and flags are in/out arguments: the kernel has overwritten them in
 * the last call, so they are set again. With MSG_TRUNC as an argument, the kernel reports the real
 * length of a datagram that did not fit (recv(2)).
 *
 * SAFETY: `messages` and everything it points to belong to the caller's MessageVector, which holds
 * all buffers until the call returns. The kernel keeps no pointer.
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
  RETRY_EINTR(result, syscall(SYS_RECVMMSG, (long)fd, messages, (long)count,
                              (long)(MSG_DONTWAIT | MSG_TRUNC | flags), (void *)0));
  return (int)result;
}

/*
 * Sends up to `count` messages without blocking, and returns their number, or the error of the
 * first. If a later one fails, the kernel discards its error (sendmmsg(2)): the caller finds it by
 * sending the remaining messages.
 *
 * SAFETY: as batch_receive.
 */
int batch_send(int fd, struct mmsghdr *messages, u32 count) {
  long result;
  RETRY_EINTR(result, syscall(SYS_SENDMMSG, (long)fd, messages, (long)count,
                              (long)(MSG_DONTWAIT | MSG_NOSIGNAL)));
  return (int)result;
}

/*
 * Sends one datagram without blocking: `length` bytes of `bytes` from `start` on. Returns 0, or
 * -errno. Takes 0.2 us less than a batch of one. A name of length 0 means the connected peer.
 *
 * SAFETY: the caller holds `bytes` and `name`, and has checked the lengths. The kernel keeps neither.
 */
int datagram_send(int fd, const u8 *bytes, u32 start, u32 length, const void *name,
                  u32 name_length) {
  long result;
  RETRY_EINTR(result, syscall(SYS_SENDTO, (long)fd, bytes + start, (u64)length,
                              (long)(MSG_DONTWAIT | MSG_NOSIGNAL), name_length ? name : (void *)0,
                              (u64)name_length));
  return result < 0 ? (int)result : 0;
}

/*
 * Copies a message of `length` bytes, datagrams of `stride` bytes of which the last may be shorter,
 * to the first `count` of `targets`, each as far as it fits. Returns the number of bytes copied.
 *
 * SAFETY: the caller holds `bytes` during the call. `targets` are the iovecs of a vector that holds
 * their buffers; their lengths bound every copy.
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
 * Returns zeroed pages, which use memory only when they are written to, or 0.
 *
 * SAFETY: owned by the ArrayBuffer that is created over it, and freed by memory_unmap.
 */
void *memory_map(u64 length) {
  void *memory = mmap(0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  return memory == (void *)-1 ? 0 : memory;
}

/* The destructor of that ArrayBuffer. Its context is the length. */
void memory_unmap(void *memory, void *length) {
  munmap(memory, (unsigned long)length);
}

/* -------------------------------------------------------------- ownership of descriptors ---- */

/*
 * <asm/stat.h>: only the first fields are used, which are the same on x86-64 and arm64. glibc has
 * the function fstat since version 2.33 only.
 */
struct file_status {
  u64 device;
  u64 inode;
#if defined(__x86_64__)
  u64 others[16];
#else
  u64 others[14];
#endif
};

/* Identifies an open file or socket: no other one has both numbers until it is closed. */
struct identity {
  u64 device;
  u64 inode;
};

/*
 * The descriptors that one JavaScript thread owns, recorded as soon as they are open: a Worker can be
 * terminated between any two lines of JavaScript. They are closed when its heap is destroyed.
 *
 * A number alone does not identify a descriptor: when Bun, which adopts some of them, or the user's
 * code has closed it, another thread may have been given the same number. So the identity of the
 * file is recorded with the number, and compared before the number is closed. No other thread closes
 * a descriptor whose identity is right, so the comparison stays valid until the close.
 */
struct descriptors {
  struct identity *identities; /* by number; the inode is 0 for descriptors that are not owned */
  u64 capacity;                /* the number of elements */
};

/* The elements of one page: more are mapped, twice as many each time, when they are needed. */
#define DESCRIPTORS_MIN 256
#define MREMAP_MAYMOVE 1

/* SAFETY: owned by the ArrayBuffer that is created over it, and freed by descriptors_destroy. */
struct descriptors *descriptors_create(void) {
  return memory_map(sizeof(struct descriptors));
}

/* Makes room for `fd`. Returns whether there is. */
static int descriptors_reserve(struct descriptors *descriptors, int fd) {
  u64 capacity = descriptors->capacity;
  if (capacity > (u64)fd) return 1;
  if (capacity == 0) capacity = DESCRIPTORS_MIN;
  while (capacity <= (u64)fd) capacity *= 2;
  u64 bytes = capacity * sizeof(struct identity);
  struct identity *identities =
      descriptors->capacity == 0
          ? memory_map(bytes)
          : mremap(descriptors->identities, descriptors->capacity * sizeof(struct identity), bytes,
                   MREMAP_MAYMOVE);
  if (!identities || identities == (void *)-1) return 0;
  descriptors->identities = identities;
  descriptors->capacity = capacity;
  return 1;
}

/*
 * Makes the thread the owner of `fd`. Without memory it does not become the owner: then `fd` leaks if
 * the thread ends before JavaScript has closed it.
 */
void descriptor_own(struct descriptors *descriptors, int fd) {
  struct file_status status;
  if (fd < 0 || syscall(SYS_FSTAT, (long)fd, &status) < 0) return;
  if (!descriptors_reserve(descriptors, fd)) return;
  descriptors->identities[fd].device = status.device;
  descriptors->identities[fd].inode = status.inode;
}

static int is_owned(struct descriptors *descriptors, int fd) {
  return fd >= 0 && (u64)fd < descriptors->capacity && descriptors->identities[fd].inode != 0;
}

/* Ends the ownership of `fd`, if any: another owner closes it. */
void descriptor_disown(struct descriptors *descriptors, int fd) {
  if (is_owned(descriptors, fd)) descriptors->identities[fd].inode = 0;
}

/* Returns whether the number of an owned descriptor still refers to the same file. */
static int is_unchanged(struct descriptors *descriptors, int fd) {
  struct file_status status;
  return syscall(SYS_FSTAT, (long)fd, &status) == 0 &&
         status.device == descriptors->identities[fd].device &&
         status.inode == descriptors->identities[fd].inode;
}

/*
 * Closes `fd`, and ends its ownership. Returns -EBADF if it was owned and something else has closed
 * it. A failure is not retried: Linux releases the number even if close fails (close(2)).
 */
int descriptor_close(struct descriptors *descriptors, int fd) {
  int is_foreign = is_owned(descriptors, fd) && !is_unchanged(descriptors, fd);
  descriptor_disown(descriptors, fd);
  return is_foreign ? -EBADF : (int)checked(close(fd));
}

/*
 * Closes all descriptors that are still owned. The destructor of the ArrayBuffer over the struct:
 * called by the thread that destroys the heap, when no JavaScript of that heap runs any more, and
 * when Bun has closed the descriptors that it has adopted.
 */
void descriptors_destroy(void *memory, void *context) {
  struct descriptors *descriptors = memory;
  (void)context;
  for (u64 fd = 0; fd < descriptors->capacity; fd++)
    if (is_owned(descriptors, (int)fd) && is_unchanged(descriptors, (int)fd)) close((int)fd);
  if (descriptors->capacity > 0)
    munmap(descriptors->identities, descriptors->capacity * sizeof(struct identity));
  munmap(descriptors, sizeof *descriptors);
}

/* ------------------------------------------------------- descriptors that datagrams pass ---- */

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define SCM_PIDFD 4
#define MSG_CTRUNC 8
#define MSG_CMSG_CLOEXEC 0x40000000

/* <linux/socket.h>: the data follows, and the next header at a multiple of 8 bytes. */
struct cmsghdr {
  u64 length; /* of header and data */
  i32 level;
  i32 type;
};

_Static_assert(sizeof(struct cmsghdr) == 16, "cmsghdr");

/*
 * Receives one message of a Unix socket without blocking, and the descriptors that the peer passes
 * with it (unix(7)), which the kernel has opened in this process by then. The first `fds_max` are
 * stored in `fds`, and the thread owns them before the call returns. All others are closed, and
 * MSG_CTRUNC is set, as the kernel does for those that did not fit. Returns the number stored.
 *
 * A descriptor of the sender's process (SCM_PIDFD), which has not been asked for, is closed.
 *
 * SAFETY: as batch_receive. `fds` has `fds_max` elements of the caller, written before the return.
 * The control messages are read within the bounds of what the kernel has written.
 */
int fds_receive(struct descriptors *descriptors, int fd, struct mmsghdr *message, u32 name_capacity,
                u32 control_capacity, int *fds, u32 fds_max) {
  int result = batch_receive(fd, message, 1, name_capacity, control_capacity, MSG_CMSG_CLOEXEC);
  if (result < 0) return result;
  struct msghdr *header = &message->header;
  const u8 *control = header->control;
  u64 end = header->control_length;
  u32 count = 0;
  for (u64 at = 0; at + sizeof(struct cmsghdr) <= end;) {
    const struct cmsghdr *cmsg = (const struct cmsghdr *)(control + at);
    if (cmsg->length < sizeof *cmsg || cmsg->length > end - at) break;
    const int *passed = (const int *)(cmsg + 1);
    int is_rights = cmsg->level == SOL_SOCKET && cmsg->type == SCM_RIGHTS;
    int is_process = cmsg->level == SOL_SOCKET && cmsg->type == SCM_PIDFD;
    u64 words = is_rights || is_process ? (cmsg->length - sizeof *cmsg) / sizeof(int) : 0;
    for (u64 i = 0; i < words; i++) {
      if (is_rights && count < fds_max) {
        descriptor_own(descriptors, passed[i]);
        fds[count++] = passed[i];
        continue;
      }
      if (is_rights) header->flags |= MSG_CTRUNC;
      close(passed[i]);
    }
    at += (cmsg->length + 7) & ~7ull;
  }
  return (int)count;
}

/* -------------------------------------------------------------- sockets and descriptors ---- */

#define SOCK_NONBLOCK 04000
#define SOCK_CLOEXEC 02000000
#define F_GETFL 3
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 1030
#define O_NONBLOCK 04000

/* SAFETY (all entries with this parameter): `descriptors` belongs to the caller's thread. */
int socket_open(struct descriptors *descriptors, int domain, int type, int protocol) {
  int fd = (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  descriptor_own(descriptors, fd);
  return fd;
}

static int pair_unowned(int domain, int type, int *fds) {
  return (int)checked(socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
}

/* SAFETY: `fds` points to two ints of the caller, written before the return. */
int socket_pair(struct descriptors *descriptors, int domain, int type, int *fds) {
  int result = pair_unowned(domain, type, fds);
  if (result < 0) return result;
  descriptor_own(descriptors, fds[0]);
  descriptor_own(descriptors, fds[1]);
  return result;
}

/* SAFETY (all four): `address` has `length` bytes of the caller, accessed before the return. */
int socket_bind(int fd, const void *address, u32 length) {
  return (int)checked(bind(fd, address, length));
}

/* A datagram socket connects immediately; only a signal can interrupt it. */
int socket_connect(int fd, const void *address, u32 length) {
  long result;
  RETRY_EINTR(result, connect(fd, address, length));
  return (int)result;
}

/* Returns the length of the address. */
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

/* SAFETY (both): `value` has `length` bytes of the caller, accessed before the return. */
int option_set(int fd, int level, int name, const void *value, u32 length) {
  return (int)checked(setsockopt(fd, level, name, value, length));
}

/* Returns the length of the value. */
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

int descriptor_duplicate(struct descriptors *descriptors, int fd) {
  int duplicate = (int)checked(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  descriptor_own(descriptors, duplicate);
  return duplicate;
}

/*
 * Reads a clock of <time.h> into `time`, a `struct timespec`: seconds and nanoseconds, 64 bits each.
 *
 * SAFETY: `time` has 16 bytes of the caller, written before the return.
 */
int clock_read(int clock, void *time) {
  return (int)checked(clock_gettime(clock, time));
}

#define CLOCK_MONOTONIC 1

/* Returns the time of CLOCK_MONOTONIC in milliseconds: exact to less than 1 us for 100 years. */
double monotonic_ms(void) {
  long time[2];
  clock_gettime(CLOCK_MONOTONIC, time);
  return (double)time[0] * 1000 + (double)time[1] / 1000000;
}

/* ----------------------------------------------------------------------------- interfaces ---- */

/* <ifaddrs.h>: a list of the addresses of all interfaces. */
struct ifaddrs {
  struct ifaddrs *next;
  char *name;
  u32 flags;
  void *address;
  void *netmask;
  void *broadcast;
  void *data;
};

_Static_assert(sizeof(struct ifaddrs) == 56, "ifaddrs");

/*
 * Returns the index of the network interface with this name (if_nametoindex(3)), or -errno: -ENODEV
 * if there is none in the network namespace of the thread.
 *
 * SAFETY: `name` is memory of the caller that ends with a NUL, read before the return.
 */
int interface_index(const char *name) {
  u32 index = if_nametoindex(name);
  return index != 0 ? (int)index : -*__errno_location();
}

/*
 * Returns the index of the interface that has `length` bytes of address at `offset` of its socket
 * address of `family`, or -errno: -ENODEV if there is none. Includes interfaces that are down, and
 * those without carrier.
 *
 * SAFETY: `bytes` has `length` bytes of the caller, at most as many as the family has, read before
 * the return. libc allocates the list, which is freed before the return.
 */
int interface_of_address(int family, const void *bytes, u32 offset, u32 length) {
  struct ifaddrs *first;
  int result = (int)checked(getifaddrs(&first));
  if (result < 0) return result;
  result = -ENODEV;
  for (struct ifaddrs *entry = first; entry && result < 0; entry = entry->next) {
    const u8 *address = entry->address;
    if (!address || *(const u16 *)address != family) continue;
    if (memcmp(address + offset, bytes, length) == 0) result = interface_index(entry->name);
  }
  freeifaddrs(first);
  return result;
}

/* -------------------------------------------------------------------------------- offload ---- */

#define AF_INET 2
#define SOCK_DGRAM 2
#define IPPROTO_UDP 17
#define UDP_SEGMENT 103
#define UDP_GRO 104

/* The probe sends datagrams of 100, 100 and 40 bytes. */
#define PROBE_DATAGRAMS 3
#define PROBE_STRIDE 100
#define PROBE_BYTES 240

struct inet_address {
  u16 family, port;
  u32 address;
  u8 zero[8];
};

/* A control message (cmsg(3)) with the stride of a message. */
struct stride_control {
  u64 length;
  i32 level;
  i32 type;
  i32 stride;
  i32 padding;
};

/* UDP_SEGMENT takes a u16. */
#define SEGMENT_CONTROL_BYTES (16 + 2)

_Static_assert(sizeof(struct inet_address) == 16, "inet_address");
_Static_assert(sizeof(struct stride_control) == 24, "stride_control");

/*
 * Sends the datagrams of the probe as segments of one message. Returns whether they are received
 * unaltered, in `expected` messages.
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
    int is_merged = messages[m].header.control_length > 0 && controls[m].type == UDP_GRO;
    u32 stride = is_merged ? (u32)controls[m].stride : length;
    if (stride != (left < PROBE_STRIDE ? left : PROBE_STRIDE) || length > left) return 0;
    if (memcmp(received[m], sent + at, length) != 0) return 0;
    at += length;
  }
  return at == PROBE_BYTES;
}

/*
 * Tests the offloads over loopback, since setsockopt may succeed where sending then fails. Returns
 * 0 if none works, 1 if UDP_SEGMENT works, 2 if UDP_GRO works as well; -errno if there is no
 * descriptor for the test, or loopback is down.
 */
int offload_probe(void) {
  struct inet_address address;
  u32 length = sizeof address;
  memset(&address, 0, sizeof address);
  address.family = AF_INET;
  address.address = 0x0100007f;
  int on = 1, receiver, sender = -1;
  long works = checked(receiver = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (works >= 0)
    works = checked(sender = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (works >= 0) works = checked(bind(receiver, &address, length));
  if (works >= 0) works = checked(getsockname(receiver, &address, &length));
  if (works >= 0) works = checked(connect(sender, &address, length));
  if (works >= 0) works = segments_pass(sender, receiver, PROBE_DATAGRAMS);
  if (works > 0 && setsockopt(receiver, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0)
    works += segments_pass(sender, receiver, 1);
  if (receiver >= 0) close(receiver);
  if (sender >= 0) close(sender);
  return (int)works;
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

/* A ready descriptor: the token that it was armed with, and its events. */
struct ready {
  u64 token;
  u32 events;
  u32 padding;
};

/*
 * The epoll instance of one JavaScript thread, which registers the thread's sockets. The thread
 * sleeps in Bun's event loop, so something else has to watch the instance: the loop itself
 * (poller_open_in_loop), or a helper thread that notifies it (poller_open_with_thread).
 *
 * The struct has memory of its own, over which JavaScript creates an ArrayBuffer. The destructor of
 * the buffer (poller_destroy) is called when the heap of the thread is destroyed, even if the
 * thread is a Worker that was terminated.
 */
struct poller {
  i32 epoll; /* the sockets of the JavaScript thread, and `timer` */
  i32 timer; /* created by the first poller_set_timer */

  /* For the helper thread. */
  i32 has_thread;
  i32 notify_fd;    /* a byte sent here wakes the event loop; owned */
  i32 thread_epoll; /* `epoll` and `stop` */
  i32 stop;         /* closing `stop_peer`, its other end, makes the helper thread return */
  i32 stop_peer;
  u64 thread;
};

/* SAFETY: owned by the ArrayBuffer that is created over it, and freed by poller_destroy. */
struct poller *poller_create(void) {
  struct poller *poller = memory_map(sizeof(struct poller));
  if (!poller) return 0;
  poller->epoll = poller->timer = poller->notify_fd = poller->thread_epoll = -1;
  poller->stop = poller->stop_peer = -1;
  return poller;
}

#define O_RDONLY 0
#define O_CLOEXEC 02000000

/*
 * The list of descriptors of this process, the link text of an epoll instance, and the lines of the
 * file that lists its registrations (proc(5)).
 */
#define DESCRIPTORS "/proc/self/fd"
#define EPOLL_LINK "anon_inode:[eventpoll]"
#define EPOLL_ENTRIES "/proc/self/fdinfo/%s"
#define EPOLL_ENTRY "tfd: %d events: %x data: %llx"

/* <linux/dirent.h>: the entries that getdents64 writes. */
struct directory_entry {
  u64 inode;
  u64 next;
  u16 length;
  u8 type;
  char name[];
};

_Static_assert(sizeof(struct directory_entry) == 24, "directory_entry");

/* Returns the error of opening a file in /proc: a lack of descriptors, or -ENOENT. */
static int proc_error(int error) {
  return error == -EMFILE || error == -ENFILE || error == -ENOMEM ? error : -ENOENT;
}

/*
 * Returns the number of registrations of `fd` in the epoll instance that descriptor `name` refers
 * to, and stores the epoll_data of the last one. Returns -errno if it cannot be read.
 */
static int registrations_of(const char *name, int fd, u64 *data) {
  char path[64], chunk[1024], line[80];
  snprintf(path, sizeof path, EPOLL_ENTRIES, name);
  int file = (int)checked(open(path, O_RDONLY | O_CLOEXEC));
  if (file < 0) return proc_error(file);
  int found = 0;
  u32 length = 0;
  long bytes;
  while ((bytes = read(file, chunk, sizeof chunk)) > 0) {
    for (long i = 0; i < bytes; i++) {
      if (chunk[i] != '\n') {
        /* The fields after the data may be cut off. */
        if (length < sizeof line - 1) line[length++] = chunk[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      int entry_fd;
      u32 events;
      u64 entry_data;
      if (sscanf(line, EPOLL_ENTRY, &entry_fd, &events, &entry_data) == 3 && entry_fd == fd) {
        *data = entry_data;
        found++;
      }
    }
  }
  close(file);
  return found;
}

/*
 * Finds the epoll instance of this process that `fd` is registered with, returns its descriptor,
 * and stores the epoll_data. Returns -ENOENT if /proc is not available, or unless there is exactly
 * one registration: an entry outlives its descriptor while a duplicate is open, and the number may
 * belong to another file by then. Returns -EMFILE and the like if no descriptor is left to read it.
 *
 * SAFETY: `data` has 8 bytes of the caller, written before the return.
 */
int registration_find(int fd, u64 *data) {
  u64 entries[128];
  char target[sizeof EPOLL_LINK];
  int folder = (int)checked(open(DESCRIPTORS, O_RDONLY | O_CLOEXEC));
  if (folder < 0) return proc_error(folder);
  int epoll = -1, found = 0, error = -ENOENT;
  long bytes;
  while ((bytes = syscall(SYS_GETDENTS64, (long)folder, entries, (long)sizeof entries)) > 0) {
    struct directory_entry *entry;
    for (long at = 0; at < bytes; at += entry->length) {
      entry = (struct directory_entry *)((u8 *)entries + at);
      long length = readlinkat(folder, entry->name, target, sizeof target);
      if (length != sizeof EPOLL_LINK - 1 || memcmp(target, EPOLL_LINK, length) != 0) continue;
      int count = registrations_of(entry->name, fd, data);
      if (count > 0) sscanf(entry->name, "%d", &epoll);
      if (count >= 0) found += count;
      else if (count != -ENOENT) error = count;
    }
  }
  close(folder);
  return found == 1 ? epoll : error;
}

/*
 * Makes Bun's event loop watch the poller. `fd` is a descriptor that the loop, whose epoll instance
 * is `loop`, has registered for reading with `data`. Its number is made to refer to the poller's
 * epoll instance, and registered again with the same data. While a socket is ready, Bun then finds
 * `fd` readable, cannot receive from it (ENOTSOCK), and reports an error.
 *
 * epoll identifies a registration by file and number, so later operations of Bun on the number
 * (changing its interest, removing it before close) apply to the new registration.
 */
int poller_open_in_loop(struct poller *poller, int loop, int fd, u64 data) {
  struct epoll_event event;
  event.events = EPOLLIN;
  event.data = data;
  long result = checked(poller->epoll = epoll_create1(EPOLL_CLOEXEC));
  /* Closes the former file of `fd`, which removes its registration. */
  if (result >= 0) result = checked(dup3(poller->epoll, fd, EPOLL_CLOEXEC));
  if (result >= 0) result = checked(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event));
  if (result >= 0) return 0;
  if (poller->epoll >= 0) close(poller->epoll);
  poller->epoll = -1;
  return (int)result;
}

/*
 * The helper thread: sends a byte whenever a descriptor of the poller becomes ready. It takes no
 * event out of the poller, so it shares no memory that JavaScript writes, and needs no atomics.
 *
 * epoll reports an event only once (EPOLLET), so a byte that could not be sent is sent again later.
 * EAGAIN means that earlier bytes are unread; other errors than those for lack of memory mean that
 * the event loop has closed its end.
 */
#define NOTIFY_RETRY_MS 1
static void *thread_main(void *argument) {
  struct poller *poller = argument;
  struct epoll_event events[2];
  int is_unsent = 0;
  for (;;) {
    int count = epoll_wait(poller->thread_epoll, events, 2, is_unsent ? NOTIFY_RETRY_MS : -1);
    if (count < 0 && *__errno_location() != EINTR) return 0;
    for (int i = 0; i < count; i++) {
      if (events[i].data == 0) return 0;
      is_unsent = 1;
    }
    if (!is_unsent) continue;
    u8 byte = 1;
    long sent = checked(send(poller->notify_fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
    is_unsent = sent == -EINTR || sent == -ENOMEM || sent == -ENOBUFS;
  }
}

/* Stops the helper thread, if any, and closes all descriptors except `notify_fd`. */
static void poller_close(struct poller *poller) {
  if (poller->stop_peer >= 0) close(poller->stop_peer);
  poller->stop_peer = -1;
  if (poller->has_thread) pthread_join(poller->thread, 0);
  poller->has_thread = 0;
  if (poller->stop >= 0) close(poller->stop);
  if (poller->thread_epoll >= 0) close(poller->thread_epoll);
  if (poller->timer >= 0) close(poller->timer);
  if (poller->epoll >= 0) close(poller->epoll);
  poller->epoll = poller->timer = poller->thread_epoll = poller->stop = -1;
}

/* Starts a helper thread that watches the poller and sends bytes to `fd`, which it then owns. */
int poller_open_with_thread(struct poller *poller, struct descriptors *descriptors, int fd) {
  int ends[2];
  long result = checked(poller->epoll = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = checked(poller->thread_epoll = epoll_create1(EPOLL_CLOEXEC));
  if (result >= 0) result = pair_unowned(AF_UNIX, SOCK_STREAM, ends);
  if (result >= 0) {
    poller->stop = ends[0];
    poller->stop_peer = ends[1];
    struct epoll_event event;
    event.events = EPOLLIN | EPOLLET; /* one notification per new event, not one per wait */
    event.data = 1;
    result = checked(epoll_ctl(poller->thread_epoll, EPOLL_CTL_ADD, poller->epoll, &event));
    event.events = EPOLLIN;
    event.data = 0;
    if (result >= 0)
      result = checked(epoll_ctl(poller->thread_epoll, EPOLL_CTL_ADD, poller->stop, &event));
  }
  if (result >= 0) {
    /* The new thread inherits a mask that blocks all signals: they are for the other threads. */
    u64 all[16], old[16];
    for (int i = 0; i < 16; i++) all[i] = ~0ULL;
    pthread_sigmask(SIG_SETMASK, all, old);
    poller->notify_fd = fd;
    result = -(long)pthread_create(&poller->thread, 0, thread_main, poller);
    pthread_sigmask(SIG_SETMASK, old, 0);
  }
  if (result < 0) {
    poller->notify_fd = -1;
    poller_close(poller);
    return (int)result;
  }
  poller->has_thread = 1;
  descriptor_disown(descriptors, fd);
  return 0;
}

/*
 * Reports `fd` with `token` while one of `events` is present (errors always), or once if `is_once`.
 * Replaces an earlier request.
 */
int poller_arm(struct poller *poller, int fd, u32 events, int is_once, u64 token) {
  struct epoll_event event;
  event.events = is_once ? events | EPOLLONESHOT : events;
  event.data = token;
  long result = checked(epoll_ctl(poller->epoll, EPOLL_CTL_MOD, fd, &event));
  if (result == -ENOENT) result = checked(epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event));
  return (int)result;
}

/* Removes `fd`. Must precede its close: otherwise events of a duplicate would be reported. */
int poller_remove(struct poller *poller, int fd) {
  struct epoll_event event;
  return (int)checked(epoll_ctl(poller->epoll, EPOLL_CTL_DEL, fd, &event));
}

#define TFD_NONBLOCK 04000
#define TFD_CLOEXEC 02000000

/* <linux/time_types.h>. */
struct itimerspec {
  u64 interval_s;
  u64 interval_ns;
  u64 value_s;
  u64 value_ns;
};

_Static_assert(sizeof(struct itimerspec) == 32, "itimerspec");

/*
 * Reports token 0 once, after `delay_us` (1 to 999,999). Replaces an earlier request. The timer is
 * edge-triggered, so that it need not be read (timerfd_create(2)).
 */
int poller_set_timer(struct poller *poller, u32 delay_us) {
  struct itimerspec time;
  if (poller->timer < 0) {
    struct epoll_event event;
    int timer = (int)checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    if (timer < 0) return timer;
    event.events = EPOLLIN | EPOLLET;
    event.data = 0;
    long result = checked(epoll_ctl(poller->epoll, EPOLL_CTL_ADD, timer, &event));
    if (result < 0) {
      close(timer);
      return (int)result;
    }
    poller->timer = timer;
  }
  time.interval_s = time.interval_ns = time.value_s = 0;
  time.value_ns = (u64)delay_us * 1000;
  return (int)checked(timerfd_settime(poller->timer, 0, &time, 0));
}

/*
 * Stores up to `capacity` ready descriptors without blocking, and returns their number. Repeated
 * after EINTR: the helper thread reports an event only once, so a caller that skips it would wait
 * forever.
 *
 * SAFETY: `out` has `capacity` elements of the caller, written before the return.
 */
int poller_wait(struct poller *poller, struct ready *out, u32 capacity) {
  struct epoll_event events[EPOLL_EVENTS_MAX];
  u32 limit = capacity < EPOLL_EVENTS_MAX ? capacity : EPOLL_EVENTS_MAX;
  long count;
  RETRY_EINTR(count, epoll_wait(poller->epoll, events, (int)limit, 0));
  for (long i = 0; i < count; i++) {
    out[i].token = events[i].data;
    out[i].events = events[i].events;
  }
  return count == -EINTR ? 0 : (int)count;
}

/*
 * The destructor of the ArrayBuffer over a poller. Called by the thread that destroys the heap, when
 * no JavaScript of that heap runs any more.
 */
void poller_destroy(void *memory, void *context) {
  struct poller *poller = memory;
  (void)context;
  poller_close(poller);
  if (poller->notify_fd >= 0) close(poller->notify_fd);
  munmap(poller, sizeof *poller);
}

u32 poller_bytes(void) {
  return sizeof(struct poller);
}

/* ------------------------------------------------------------------------ interface ---- */

int shim_abi(void) {
  return SHIM_ABI;
}

int shim_publish(const char *name);

/*
 * The order is that of SYMBOLS in ffi/symbols.ts; a test compares them. JavaScript links these
 * addresses with linkSymbols, whose calls cost a third of those of cc. Ends with 0.
 */
static void *const entries[] = {
    (void *)shim_abi,
    (void *)batch_receive,
    (void *)batch_send,
    (void *)datagram_send,
    (void *)batch_scatter,
    (void *)fds_receive,
    (void *)memory_map,
    (void *)memory_unmap,
    (void *)descriptor_own,
    (void *)descriptor_disown,
    (void *)descriptors_create,
    (void *)descriptors_destroy,
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
    (void *)poller_create,
    (void *)poller_bytes,
    (void *)poller_destroy,
    (void *)registration_find,
    (void *)poller_open_in_loop,
    (void *)poller_open_with_thread,
    (void *)poller_arm,
    (void *)poller_remove,
    (void *)poller_set_timer,
    (void *)poller_wait,
    (void *)monotonic_ms,
    (void *)shim_publish,
    (void *)interface_index,
    (void *)interface_of_address,
    0,
};

/* Returns the table of entries. The only function that cc binds. */
void *shim_entries(void) {
  return (void *)entries;
}

/* A published address: a prefix that makes it recognizable, and hexadecimal digits. */
#define PUBLISHED_PREFIX "datagram-socket:"
#define PUBLISHED_FORMAT PUBLISHED_PREFIX "%016llx"
#define PUBLISHED_BYTES 33

/*
 * Makes the table known to the other threads of this process, unless another table is known under
 * that name already. The place is the table of text domains of libc: a list of strings by name that
 * all threads share and may use at any time, and that no other process inherits. Nothing else uses
 * a domain with such a name. Returns 0, or -ENOMEM.
 *
 * SAFETY: `name` is a string of the caller, which libc copies. The code and the table are never
 * freed.
 */
int shim_publish(const char *name) {
  char value[PUBLISHED_BYTES];
  /* Without a value of its own, the domain has that of the system (glibc) or none (musl). */
  const char *known = bindtextdomain(name, 0);
  if (known && strncmp(known, PUBLISHED_PREFIX, sizeof PUBLISHED_PREFIX - 1) == 0) return 0;
  snprintf(value, sizeof value, PUBLISHED_FORMAT, (u64)entries);
  return bindtextdomain(name, value) ? 0 : -ENOMEM;
}
