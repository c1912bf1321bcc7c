/*
 * The readiness half of shim-harness.c: the same sections for an event loop that watches the
 * poller itself, and for the helper thread.
 */

#include "pollers.h"

/* `is_once` of poller_arm. */
#define ONCE 1
#define FOR_GOOD 0

/* How long to wait for what should not come. */
#define QUIET_MS 20

static void armed_before_and_after(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  for (int round = 0; round < rounds; round++) {
    u64 token = 0x1fffff00000000ull + (u64)round;
    int isReadyFirst = round & 1;
    if (isReadyFirst) send_one(left);
    IS(poller_arm(ears.poller, right, POLLIN, ONCE, token), 0);
    if (!isReadyFirst) {
      IS(poller_wait(ears.poller, ready, 4), 0);
      TRUE(is_silent(ears));
      send_one(left);
    }
    int count;
    do {
      hear(ears);
      count = poller_wait(ears.poller, ready, 4);
    } while (count == 0);
    IS(count, 1);
    IS(ready[0].token, token);
    IS(ready[0].events & POLLIN, POLLIN);
    /* It still is ready, but was told of. */
    IS(poller_wait(ears.poller, ready, 4), 0);
    IS(drain(right), 1);
  }
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

/* Armed for good: reported while it is ready, silent when drained, and when armed for nothing. */
static void armed_for_good(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  IS(poller_arm(ears.poller, right, POLLIN, FOR_GOOD, 1), 0);
  for (int round = 0; round < 100; round++) {
    send_one(left);
    hear(ears);
    for (int again = 0; again < 3; again++) {
      IS(poller_wait(ears.poller, ready, 4), 1);
      IS(ready[0].token, 1);
      if (mode == BY_LOOP) hear(ears);
    }
    IS(drain(right), 1);
    IS(poller_wait(ears.poller, ready, 4), 0);
    TRUE(is_silent(ears));
  }
  send_one(left);
  hear(ears);
  /* The helper rings for what is new, not for what is still there. */
  if (mode == BY_THREAD) IS(loop_waits(ears, QUIET_MS), 0);
  IS(poller_arm(ears.poller, right, 0, ONCE, 2), 0);
  IS(poller_wait(ears.poller, ready, 4), 0);
  TRUE(is_silent(ears));
  IS(poller_arm(ears.poller, right, POLLIN, FOR_GOOD, 3), 0);
  hear(ears);
  IS(poller_wait(ears.poller, ready, 4), 1);
  IS(ready[0].token, 3);
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

static void full_socket(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  prepare(1, 8, 0);
  while (batch_send(left, messages, 1) == 1);
  IS(poller_arm(ears.poller, left, POLLOUT, ONCE, 5), 0);
  TRUE(is_silent(ears));
  TRUE(drain(right) > 0);
  hear(ears);
  IS(poller_wait(ears.poller, ready, 4), 1);
  IS(ready[0].token, 5);
  TRUE(ready[0].events & POLLOUT);
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

/* Takes what is ready, three at a time, until `wanted` came; each token once. */
static void reap_all(struct ears ears, int wanted) {
  static u8 seen[8192];
  memset(seen, 0, sizeof seen);
  struct ready ready[3];
  int total = 0;
  while (total < wanted) {
    hear(ears);
    int count;
    do {
      count = poller_wait(ears.poller, ready, 3);
      for (int i = 0; i < count; i++) IS(seen[ready[i].token]++, 0);
      total += count;
    } while (count == 3);
    if (count < 0) break;
  }
  IS(total, wanted);
}

static void many_at_once(void) {
  enum { COUNT = 300 };
  struct ears ears = ears_open();
  int left[COUNT], right[COUNT];
  for (int i = 0; i < COUNT; i++) {
    pair_open(&left[i], &right[i], SOCK_DGRAM);
    IS(poller_arm(ears.poller, right[i], POLLIN, ONCE, (u64)i + 1), 0);
  }
  for (int i = 0; i < COUNT; i++) send_one(left[i]);
  /* However much room there is. */
  struct ready ready[COUNT];
  IS(poller_wait(ears.poller, ready, COUNT), EPOLL_EVENTS_MAX);
  reap_all(ears, COUNT - EPOLL_EVENTS_MAX);
  for (int i = 0; i < COUNT; i++) descriptor_close(left[i]), descriptor_close(right[i]);
  ears_close(ears);
}

static void disarmed(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  struct inet_address here;
  descriptor_close(open_udp(&here));
  for (u64 token = 1; token <= 300; token++) {
    int fd = socket_open(AF_INET, SOCK_DGRAM, 0);
    IS(socket_bind(fd, &here, sizeof here), 0);
    IS(poller_arm(ears.poller, fd, POLLIN, ONCE, token), 0);
    IS(poller_remove(ears.poller, fd), 0);
    descriptor_close(fd);
    IS(poller_wait(ears.poller, ready, 4), 0);
  }
  TRUE(is_silent(ears));
  ears_close(ears);
}

/* The heap goes while sockets are open and armed, in either order: nothing is left. */
static void destroyed_while_armed(void) {
  for (int order = 0; order < 2; order++) {
    int before = descriptors_open();
    struct ears ears = ears_open();
    for (int i = 0; i < 20; i++) {
      struct inet_address here;
      int fd = open_udp(&here);
      IS(poller_arm(ears.poller, fd, POLLIN, ONCE, (u64)i + 1), 0);
    }
    if (order == 0) descriptors_close(descriptors_owned(), 0);
    ears_close(ears);
    descriptors_close(descriptors_owned(), 0);
    IS(descriptors_open(), before);
  }
}

/* ------------------------------------------------------------------------- failures ---- */

/*
 * Opens with a fault set: the error comes out, nothing is left but what the caller brought, and
 * it can be tried again.
 */
static void open_fails(enum door door, int skip, int error) {
  int rung;
  struct ears ears = ears_prepare(&rung);
  int before = descriptors_open();
  inject(door, skip, 1, error);
  IS(ears_try(ears, rung), -error);
  IS(descriptors_open(), before);
  IS(ears.poller->epoll, -1);
  IS(ears.poller->has_thread, 0);
  IS(ears.poller->notify_fd, -1);
  TRUE(is_silent(ears));
  clear_faults();
  IS(ears_try(ears, rung), 0);
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  IS(poller_arm(ears.poller, right, POLLIN, ONCE, 1), 0);
  send_one(left);
  hear(ears);
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

/* What can go wrong once a poller is open. */
static void use_fails(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  IS(poller_arm(ears.poller, -1, POLLIN, ONCE, 1), -EBADF);
  IS(poller_remove(ears.poller, left), -ENOENT);
  inject(AT_EPOLL_CTL, 0, 1, ENOMEM);
  IS(poller_arm(ears.poller, left, POLLIN, ONCE, 1), -ENOMEM);
  /* One that is not known yet is asked for twice. */
  inject(AT_EPOLL_CTL, 1, 1, ENOMEM);
  IS(poller_arm(ears.poller, left, POLLIN, ONCE, 1), -ENOMEM);
  inject(AT_EPOLL_WAIT, 0, 1, EINTR);
  IS(poller_wait(ears.poller, ready, 4), 0);
  inject(AT_EPOLL_WAIT, 0, 1, EBADF);
  IS(poller_wait(ears.poller, ready, 4), -EBADF);
  clear_faults();
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

static void loop_failures(void) {
  open_fails(AT_EPOLL_CREATE, 0, EMFILE);
  open_fails(AT_DUP3, 0, EBADF);
  open_fails(AT_EPOLL_CTL, 0, ENOMEM);

  /* Numbers that are none, or something else. */
  int bell;
  struct ears ears = ears_prepare(&bell);
  IS(poller_open_in_loop(ears.poller, ears.loop, -1, LOOP_DATA), -EBADF);
  prepare(1, 8, 0);
  IS(batch_receive(bell, messages, 1, 0, 0, 0), -EAGAIN);
  IS(poller_open_in_loop(ears.poller, -1, bell, LOOP_DATA), -EBADF);
  IS(poller_open_in_loop(ears.poller, bell, bell, LOOP_DATA), -EINVAL);
  IS(ears.poller->epoll, -1);
  ears_close(ears);
  use_fails();
}

static void helper_failures(void) {
  open_fails(AT_EPOLL_CREATE, 0, EMFILE);
  open_fails(AT_EPOLL_CREATE, 1, EMFILE);
  open_fails(AT_SOCKETPAIR, 0, EMFILE);
  open_fails(AT_EPOLL_CTL, 0, ENOMEM);
  open_fails(AT_EPOLL_CTL, 1, ENOMEM);
  open_fails(AT_PTHREAD_CREATE, 0, EAGAIN);
  use_fails();
}

/* What Bun does to the number of its socket, it does to the loop's watch over the poller. */
static void bell_is_the_watch(void) {
  struct ears ears = ears_open();
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  IS(poller_arm(ears.poller, right, POLLIN, FOR_GOOD, 1), 0);
  send_one(left);
  hear(ears);
  IS(fcntl(ears.heard, F_GETFD), 1);
  struct epoll_event event = {.events = 0, .data = LOOP_DATA};
  IS(real_epoll_ctl(ears.loop, EPOLL_CTL_MOD, ears.heard, &event), 0);
  TRUE(is_silent(ears));
  event.events = EPOLLIN;
  IS(real_epoll_ctl(ears.loop, EPOLL_CTL_MOD, ears.heard, &event), 0);
  hear(ears);
  IS(real_epoll_ctl(ears.loop, EPOLL_CTL_DEL, ears.heard, &event), 0);
  TRUE(is_silent(ears));
  /* The socket that it was is watched no more either. */
  IS(checked(real_epoll_ctl(ears.loop, EPOLL_CTL_DEL, ears.heard, &event)), -ENOENT);
  struct ready ready[4];
  IS(poller_wait(ears.poller, ready, 4), 1);
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

/* More entries than one read brings, of the list and of the epoll instance; each is found. */
static void watches_found(void) {
  enum { WATCHED = 150 };
  int fds[WATCHED];
  u64 data = 7;
  int loop = real_epoll_create1(EPOLL_CLOEXEC), other = real_epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data = LOOP_DATA};
  for (int i = 0; i < WATCHED; i++) {
    fds[i] = socket_open(AF_INET, SOCK_DGRAM, 0);
    IS(registration_find(fds[i], &data), -ENOENT);
    event.data = LOOP_DATA - (u64)i;
    IS(real_epoll_ctl(loop, EPOLL_CTL_ADD, fds[i], &event), 0);
  }
  IS(data, 7);
  for (int i = 0; i < WATCHED; i++) {
    IS(registration_find(fds[i], &data), loop);
    IS(data, LOOP_DATA - (u64)i);
  }
  IS(registration_find(-1, &data), -ENOENT);
  IS(registration_find(fds[0] * 1000, &data), -ENOENT);
  IS(registration_find(loop, &data), -ENOENT);
  inject(AT_SYSCALL, 0, 1, ENOMEM);
  IS(registration_find(fds[0], &data), -ENOENT);
  clear_faults();
  /* Two watch it; and then another alone does. */
  IS(real_epoll_ctl(other, EPOLL_CTL_ADD, fds[0], &event), 0);
  IS(registration_find(fds[0], &data), -ENOENT);
  IS(real_epoll_ctl(loop, EPOLL_CTL_DEL, fds[0], &event), 0);
  IS(registration_find(fds[0], &data), other);
  /* A duplicate keeps the entry of a number that is another's by then. */
  int duplicate = descriptor_duplicate(fds[1]);
  event.data = 1;
  IS(real_dup3(fds[0], fds[1], 0), fds[1]);
  IS(real_epoll_ctl(loop, EPOLL_CTL_ADD, fds[1], &event), 0);
  IS(registration_find(fds[1], &data), -ENOENT);
  descriptor_close(duplicate);
  for (int i = 0; i < WATCHED; i++) descriptor_close(fds[i]);
  close(loop);
  close(other);
}

static void never_opened(void) {
  struct poller *poller = poller_create();
  IS(poller->epoll, -1);
  IS(poller->has_thread, 0);
  poller_destroy(poller, 0);
  inject(AT_MMAP, 0, 1, ENOMEM);
  TRUE(poller_create() == 0);
}

static void run_mode(const char *mode_name, void (*fail)(void)) {
  static const struct {
    const char *name;
    void (*run)(void);
  } sections[] = {
      {"armed before and after", armed_before_and_after},
      {"armed for good", armed_for_good},
      {"full socket", full_socket},
      {"many at once", many_at_once},
      {"disarmed", disarmed},
      {"destroyed while armed", destroyed_while_armed},
  };
  char name[64];
  for (u32 i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    snprintf(name, sizeof name, "%s: %s", mode_name, sections[i].name);
    run_section(name, sections[i].run);
  }
  snprintf(name, sizeof name, "%s: failures", mode_name);
  run_section(name, fail);
}

static void run_readiness(void) {
  run_section("never opened", never_opened);
  run_section("watches found", watches_found);
  mode = BY_LOOP;
  run_mode("loop", loop_failures);
  run_section("loop: the bell is the watch", bell_is_the_watch);
  mode = BY_THREAD;
  run_mode("thread", helper_failures);
}
