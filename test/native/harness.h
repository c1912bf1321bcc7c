/*
 * The shim, compiled by a real compiler with some of libc behind a door: a call that passes it
 * can be made to fail, which no kernel does on request. Checks count and print where they fail.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A fault lets `skip` calls through, then fails `times` calls with `error`. */
struct fault {
  int skip, times, error;
  int calls; /* how many there were since it was set */
};

enum door { AT_SYSCALL, AT_CONNECT, AT_MMAP, AT_EPOLL_CREATE, AT_EPOLL_CTL, AT_SOCKETPAIR,
            AT_PTHREAD_CREATE, AT_EPOLL_WAIT, AT_DUP3, DOORS };

static struct fault faults[DOORS];

#define syscall door_syscall
#define connect door_connect
#define mmap door_mmap
#define epoll_create1 door_epoll_create1
#define epoll_ctl door_epoll_ctl
#define epoll_wait door_epoll_wait
#define socketpair door_socketpair
#define pthread_create door_pthread_create
#define dup3 door_dup3

#include "../../c/shim.c"

#undef syscall
#undef connect
#undef mmap
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait
#undef socketpair
#undef pthread_create
#undef dup3

/* The real ones, under names of their own, as the shim's declarations are not the headers'. */
extern long real_syscall(long, long, long, long, long, long, long) __asm__("syscall");
extern int real_connect(int, const void *, u32) __asm__("connect");
extern void *real_mmap(void *, unsigned long, int, int, int, long) __asm__("mmap");
extern int real_epoll_create1(int) __asm__("epoll_create1");
extern int real_epoll_ctl(int, int, int, void *) __asm__("epoll_ctl");
extern int real_epoll_wait(int, void *, int, int) __asm__("epoll_wait");
extern int real_dup3(int, int, int) __asm__("dup3");
extern int real_socketpair(int, int, int, int[2]) __asm__("socketpair");
extern int real_pthread_create(u64 *, const void *, void *(*)(void *), void *)
    __asm__("pthread_create");

/* Whether this call is to fail. The helper thread passes no door that a test counts. */
static int fails(enum door door) {
  struct fault *fault = &faults[door];
  fault->calls++;
  if (fault->skip > 0) {
    fault->skip--;
    return 0;
  }
  if (fault->times == 0) return 0;
  fault->times--;
  return 1;
}

static int refuse(enum door door) {
  *__errno_location() = faults[door].error;
  return -1;
}

static void inject(enum door door, int skip, int times, int error) {
  faults[door] = (struct fault){skip, times, error, 0};
}

static void clear_faults(void) {
  memset(faults, 0, sizeof faults);
}

long door_syscall(long number, ...) {
  __builtin_va_list rest;
  __builtin_va_start(rest, number);
  long a[6] = {0};
  int count = number == SYS_RECVMMSG ? 5 : number == SYS_SENDMMSG ? 4 : 3;
  for (int i = 0; i < count; i++) a[i] = __builtin_va_arg(rest, long);
  __builtin_va_end(rest);
  if (fails(AT_SYSCALL)) return refuse(AT_SYSCALL);
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int door_connect(int fd, const void *address, u32 length) {
  return fails(AT_CONNECT) ? refuse(AT_CONNECT) : real_connect(fd, address, length);
}

void *door_mmap(void *at, unsigned long length, int protection, int flags, int fd, long offset) {
  if (fails(AT_MMAP)) return (void *)(long)refuse(AT_MMAP);
  return real_mmap(at, length, protection, flags, fd, offset);
}

int door_epoll_create1(int flags) {
  return fails(AT_EPOLL_CREATE) ? refuse(AT_EPOLL_CREATE) : real_epoll_create1(flags);
}

int door_epoll_ctl(int epoll, int operation, int fd, void *event) {
  return fails(AT_EPOLL_CTL) ? refuse(AT_EPOLL_CTL) : real_epoll_ctl(epoll, operation, fd, event);
}

int door_dup3(int from, int to, int flags) {
  return fails(AT_DUP3) ? refuse(AT_DUP3) : real_dup3(from, to, flags);
}

/* Only the reaping side: the helper's own waits, which never end by themselves, go through. */
int door_epoll_wait(int epoll, void *events, int count, int timeout_ms) {
  if (timeout_ms == 0 && fails(AT_EPOLL_WAIT)) return refuse(AT_EPOLL_WAIT);
  return real_epoll_wait(epoll, events, count, timeout_ms);
}

int door_socketpair(int domain, int type, int protocol, int fds[2]) {
  if (fails(AT_SOCKETPAIR)) return refuse(AT_SOCKETPAIR);
  return real_socketpair(domain, type, protocol, fds);
}

int door_pthread_create(u64 *thread, const void *attributes, void *(*start)(void *), void *data) {
  if (fails(AT_PTHREAD_CREATE)) return faults[AT_PTHREAD_CREATE].error;
  return real_pthread_create(thread, attributes, start, data);
}

/* ------------------------------------------------------------------------------- checks ---- */

#define F_GETFD_COMMAND 1

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

#define IS(got, expected) check((long)(got), (long)(expected), __LINE__, #got)
#define TRUE(condition) check(!!(condition), 1, __LINE__, #condition)

/* Descriptors that are open, up to a number that no test gets to. */
static int descriptors_open(void) {
  int count = 0;
  for (int fd = 0; fd < 2048; fd++) count += fcntl(fd, F_GETFD_COMMAND) >= 0;
  return count;
}

/* A section starts and ends without faults and with the same descriptors. */
static void run_section(const char *name, void (*run)(void)) {
  section = name;
  clear_faults();
  int before = descriptors_open();
  int failed_before = checks_failed;
  run();
  clear_faults();
  IS(descriptors_open(), before);
  printf("%s %s\n", checks_failed == failed_before ? "ok  " : "FAIL", name);
}
