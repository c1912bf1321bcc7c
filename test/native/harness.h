/*
 * Fault injection and checks for shim-harness.c. Includes c/shim.c with some of its libc calls
 * replaced by wrappers, which can be made to fail with a chosen errno. A check that fails prints
 * its line and both values.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F_GETFD 1

/* Lets `skip` calls through, then makes `times` calls fail with `error`. */
struct fault {
  int skip, times, error;
  int calls; /* the number of calls since the fault was injected */
};

/* The libc functions that have a wrapper. */
enum call {
  CALL_SYSCALL,
  CALL_CONNECT,
  CALL_MMAP,
  CALL_EPOLL_CREATE,
  CALL_EPOLL_CTL,
  CALL_SOCKETPAIR,
  CALL_PTHREAD_CREATE,
  CALL_EPOLL_WAIT,
  CALL_DUP3,
  CALL_OPEN,
  CALL_SOCKET,
  CALL_BIND,
  CALL_MREMAP,
  CALL_BINDTEXTDOMAIN,
  CALLS
};

static struct fault faults[CALLS];

/* Faults of the helper thread, which runs at the same time: accessed with atomic operations. */
static struct {
  int interrupted_waits;         /* the number of its next waits that fail with EINTR */
  int failing_sends, send_error; /* the number of its next sends that fail, and their error */
  int sends;                     /* the number of its sends so far */
} helper_faults;

#define syscall wrapped_syscall
#define connect wrapped_connect
#define mmap wrapped_mmap
#define epoll_create1 wrapped_epoll_create1
#define epoll_ctl wrapped_epoll_ctl
#define epoll_wait wrapped_epoll_wait
#define socketpair wrapped_socketpair
#define pthread_create wrapped_pthread_create
#define dup3 wrapped_dup3
#define open wrapped_open
#define socket wrapped_socket
#define bind wrapped_bind
#define mremap wrapped_mremap
#define bindtextdomain wrapped_bindtextdomain
#define send wrapped_send

#include "../../c/shim.c"

/* The owner of all descriptors that the sections open. */
static struct descriptors *owner;

/* The sections pass no owner. */
#define descriptor_own(fd) descriptor_own(owner, fd)
#define descriptor_disown(fd) descriptor_disown(owner, fd)
#define descriptor_duplicate(fd) descriptor_duplicate(owner, fd)
#define descriptor_close(fd) descriptor_close(owner, fd)
#define fds_receive(...) fds_receive(owner, __VA_ARGS__)
#define socket_open(domain, type, protocol) socket_open(owner, domain, type, protocol)
#define socket_pair(domain, type, fds) socket_pair(owner, domain, type, fds)

#undef syscall
#undef connect
#undef mmap
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait
#undef socketpair
#undef pthread_create
#undef dup3
#undef open
#undef socket
#undef bind
#undef mremap
#undef bindtextdomain
#undef send

/* The libc functions themselves, declared without headers, as in the shim. */
extern long real_syscall(long, long, long, long, long, long, long) __asm__("syscall");
extern int real_connect(int, const void *, u32) __asm__("connect");
extern void *real_mmap(void *, unsigned long, int, int, int, long) __asm__("mmap");
extern int real_epoll_create1(int) __asm__("epoll_create1");
extern int real_epoll_ctl(int, int, int, void *) __asm__("epoll_ctl");
extern int real_epoll_wait(int, void *, int, int) __asm__("epoll_wait");
extern int real_dup3(int, int, int) __asm__("dup3");
extern int real_open(const char *, int) __asm__("open");
extern int real_socket(int, int, int) __asm__("socket");
extern int real_bind(int, const void *, u32) __asm__("bind");
extern void *real_mremap(void *, unsigned long, unsigned long, int) __asm__("mremap");
extern char *real_bindtextdomain(const char *, const char *) __asm__("bindtextdomain");
extern long real_send(int, const void *, unsigned long, int) __asm__("send");
extern int real_socketpair(int, int, int, int[2]) __asm__("socketpair");
extern int real_pthread_create(u64 *, const void *, void *(*)(void *), void *)
    __asm__("pthread_create");

/*
 * Counts a call, and returns whether it should fail. Needs no atomics: the helper thread, which
 * calls only epoll_wait and send, does not get here.
 */
static int should_fail(enum call call) {
  struct fault *fault = &faults[call];
  fault->calls++;
  if (fault->skip > 0) {
    fault->skip--;
    return 0;
  }
  if (fault->times == 0) return 0;
  fault->times--;
  return 1;
}

static int fail_with_errno(enum call call) {
  *__errno_location() = faults[call].error;
  return -1;
}

static void inject_fault(enum call call, int skip, int times, int error) {
  faults[call] = (struct fault){skip, times, error, 0};
}

static void clear_faults(void) {
  memset(faults, 0, sizeof faults);
}

long wrapped_syscall(long number, ...) {
  __builtin_va_list arguments;
  __builtin_va_start(arguments, number);
  long a[6] = {0};
  int count = number == SYS_SENDTO     ? 6
              : number == SYS_RECVMMSG ? 5
              : number == SYS_SENDMMSG ? 4
              : number == SYS_FSTAT    ? 2
                                       : 3;
  for (int i = 0; i < count; i++) a[i] = __builtin_va_arg(arguments, long);
  __builtin_va_end(arguments);
  if (should_fail(CALL_SYSCALL)) return fail_with_errno(CALL_SYSCALL);
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int wrapped_connect(int fd, const void *address, u32 length) {
  if (should_fail(CALL_CONNECT)) return fail_with_errno(CALL_CONNECT);
  return real_connect(fd, address, length);
}

void *wrapped_mmap(void *at, unsigned long length, int protection, int flags, int fd, long offset) {
  if (should_fail(CALL_MMAP)) return (void *)(long)fail_with_errno(CALL_MMAP);
  return real_mmap(at, length, protection, flags, fd, offset);
}

int wrapped_epoll_create1(int flags) {
  if (should_fail(CALL_EPOLL_CREATE)) return fail_with_errno(CALL_EPOLL_CREATE);
  return real_epoll_create1(flags);
}

int wrapped_epoll_ctl(int epoll, int operation, int fd, void *event) {
  if (should_fail(CALL_EPOLL_CTL)) return fail_with_errno(CALL_EPOLL_CTL);
  return real_epoll_ctl(epoll, operation, fd, event);
}

int wrapped_dup3(int from, int to, int flags) {
  if (should_fail(CALL_DUP3)) return fail_with_errno(CALL_DUP3);
  return real_dup3(from, to, flags);
}

int wrapped_open(const char *path, int flags, ...) {
  if (should_fail(CALL_OPEN)) return fail_with_errno(CALL_OPEN);
  return real_open(path, flags);
}

int wrapped_socket(int domain, int type, int protocol) {
  if (should_fail(CALL_SOCKET)) return fail_with_errno(CALL_SOCKET);
  return real_socket(domain, type, protocol);
}

int wrapped_bind(int fd, const void *address, u32 length) {
  if (should_fail(CALL_BIND)) return fail_with_errno(CALL_BIND);
  return real_bind(fd, address, length);
}

void *wrapped_mremap(void *at, unsigned long from, unsigned long to, int flags, ...) {
  if (should_fail(CALL_MREMAP)) return (void *)(long)fail_with_errno(CALL_MREMAP);
  return real_mremap(at, from, to, flags);
}

char *wrapped_bindtextdomain(const char *name, const char *value) {
  if (value && should_fail(CALL_BINDTEXTDOMAIN)) return 0;
  return real_bindtextdomain(name, value);
}

/* Takes one from a number of failures that are left. Returns whether there was one. */
static int take_failure(int *left) {
  int before = __atomic_load_n(left, __ATOMIC_SEQ_CST);
  if (before > 0) __atomic_store_n(left, before - 1, __ATOMIC_SEQ_CST);
  return before > 0;
}

/* poller_wait has a timeout of 0. The other waits are those of the helper thread. */
int wrapped_epoll_wait(int epoll, void *events, int count, int timeout_ms) {
  if (timeout_ms == 0) {
    if (should_fail(CALL_EPOLL_WAIT)) return fail_with_errno(CALL_EPOLL_WAIT);
  } else if (take_failure(&helper_faults.interrupted_waits)) {
    *__errno_location() = EINTR;
    return -1;
  }
  return real_epoll_wait(epoll, events, count, timeout_ms);
}

/* Called by the helper thread only. */
long wrapped_send(int fd, const void *data, unsigned long length, int flags) {
  __atomic_add_fetch(&helper_faults.sends, 1, __ATOMIC_SEQ_CST);
  if (take_failure(&helper_faults.failing_sends)) {
    *__errno_location() = __atomic_load_n(&helper_faults.send_error, __ATOMIC_SEQ_CST);
    return -1;
  }
  return real_send(fd, data, length, flags);
}

int wrapped_socketpair(int domain, int type, int protocol, int fds[2]) {
  if (should_fail(CALL_SOCKETPAIR)) return fail_with_errno(CALL_SOCKETPAIR);
  return real_socketpair(domain, type, protocol, fds);
}

int wrapped_pthread_create(u64 *thread, const void *attributes, void *(*start)(void *),
                           void *data) {
  if (should_fail(CALL_PTHREAD_CREATE)) return faults[CALL_PTHREAD_CREATE].error;
  return real_pthread_create(thread, attributes, start, data);
}

/* ------------------------------------------------------------------------------- checks ---- */

static const char *section;
static int checks_passed, checks_failed;

static void check(long got, long expected, int line, const char *what) {
  if (got == expected) {
    checks_passed++;
    return;
  }
  checks_failed++;
  printf("%s:%d: %s expected %ld, got %ld\n", section, line, what, expected, got);
}

#define CHECK_EQ(got, expected) check((long)(got), (long)(expected), __LINE__, #got)
#define CHECK(condition) check(!!(condition), 1, __LINE__, #condition)

/* Returns the number of open descriptors below 2048. No test opens a higher one. */
static int descriptors_open(void) {
  int count = 0;
  for (int fd = 0; fd < 2048; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/* Runs a section without injected faults, and checks that it leaves no descriptor open. */
__attribute__((unused)) static void run_section(const char *name, void (*run)(void)) {
  section = name;
  clear_faults();
  int before = descriptors_open();
  int failed_before = checks_failed;
  owner = descriptors_create();
  run();
  clear_faults();
  CHECK_EQ(descriptors_open(), before);
  descriptors_destroy(owner, 0);
  printf("%s %s\n", checks_failed == failed_before ? "ok  " : "FAIL", name);
}
