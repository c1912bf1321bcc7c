/*
 * The sections of shim-harness.c that test pollers. Most of them run in both modes: "loop", where
 * the event loop watches the poller, and "thread", where a helper thread does.
 */


/* `is_once` of poller_arm. */
#define ONE_SHOT 1
#define PERSISTENT 0

/* How long to wait where no notification is expected. */
#define UNEXPECTED_MS 20

static void one_shot_events(void) {
  struct fixture fixture = fixture_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  for (int round = 0; round < rounds; round++) {
    u64 token = 0x1fffff00000000ull + (u64)round;
    int is_ready_first = round & 1;
    if (is_ready_first) send_one(left);
    CHECK_EQ(poller_arm(fixture.poller, right, POLLIN, ONE_SHOT, token), 0);
    if (!is_ready_first) {
      CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
      CHECK(has_no_notification(fixture));
      send_one(left);
    }
    int count;
    do {
      await_notification(fixture);
      count = poller_wait(fixture.poller, ready, 4);
    } while (count == 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(ready[0].token, token);
    CHECK_EQ(ready[0].events & POLLIN, POLLIN);
    /* The socket is still ready, but a one-shot event is reported once. */
    CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
    CHECK_EQ(drain(right), 1);
  }
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

static void persistent_events(void) {
  struct fixture fixture = fixture_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(poller_arm(fixture.poller, right, POLLIN, PERSISTENT, 1), 0);
  for (int round = 0; round < 100; round++) {
    send_one(left);
    await_notification(fixture);
    for (int repeat = 0; repeat < 3; repeat++) {
      CHECK_EQ(poller_wait(fixture.poller, ready, 4), 1);
      CHECK_EQ(ready[0].token, 1);
      if (mode == MODE_LOOP) await_notification(fixture);
    }
    CHECK_EQ(drain(right), 1);
    CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
    CHECK(has_no_notification(fixture));
  }
  send_one(left);
  await_notification(fixture);
  /* The helper thread uses EPOLLET: it sends no second notification for the same event. */
  if (mode == MODE_THREAD) CHECK_EQ(loop_wait(fixture, UNEXPECTED_MS), 0);
  /* Disarmed, by a request without events. */
  CHECK_EQ(poller_arm(fixture.poller, right, 0, ONE_SHOT, 2), 0);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
  CHECK(has_no_notification(fixture));
  CHECK_EQ(poller_arm(fixture.poller, right, POLLIN, PERSISTENT, 3), 0);
  await_notification(fixture);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 1);
  CHECK_EQ(ready[0].token, 3);
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

static void writable_event(void) {
  struct fixture fixture = fixture_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  prepare(1, 8, 0);
  while (batch_send(left, messages, 1) == 1);
  CHECK_EQ(poller_arm(fixture.poller, left, POLLOUT, ONE_SHOT, 5), 0);
  CHECK(has_no_notification(fixture));
  CHECK(drain(right) > 0);
  await_notification(fixture);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 1);
  CHECK_EQ(ready[0].token, 5);
  CHECK(ready[0].events & POLLOUT);
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

/* Takes `wanted` events, three per call, and checks that no token is reported twice. */
static void take_ready(struct fixture fixture, int wanted) {
  static u8 seen[8192];
  memset(seen, 0, sizeof seen);
  struct ready ready[3];
  int total = 0;
  while (total < wanted) {
    await_notification(fixture);
    int count;
    do {
      count = poller_wait(fixture.poller, ready, 3);
      for (int i = 0; i < count; i++) CHECK_EQ(seen[ready[i].token]++, 0);
      total += count;
    } while (count == 3);
    if (count < 0) break;
  }
  CHECK_EQ(total, wanted);
}

static void many_ready_descriptors(void) {
  enum { COUNT = 300 };
  struct fixture fixture = fixture_open();
  int left[COUNT], right[COUNT];
  for (int i = 0; i < COUNT; i++) {
    pair_open(&left[i], &right[i], SOCK_DGRAM);
    CHECK_EQ(poller_arm(fixture.poller, right[i], POLLIN, ONE_SHOT, (u64)i + 1), 0);
  }
  for (int i = 0; i < COUNT; i++) send_one(left[i]);
  /* One call returns at most EPOLL_EVENTS_MAX events, even if there is room for more. */
  struct ready ready[COUNT];
  CHECK_EQ(poller_wait(fixture.poller, ready, COUNT), EPOLL_EVENTS_MAX);
  take_ready(fixture, COUNT - EPOLL_EVENTS_MAX);
  for (int i = 0; i < COUNT; i++) descriptor_close(left[i]), descriptor_close(right[i]);
  fixture_close(fixture);
}

/* All sockets have the same port and, as a rule, the same descriptor number. */
static void removed_descriptors(void) {
  struct fixture fixture = fixture_open();
  struct ready ready[4];
  struct inet_address here;
  descriptor_close(open_udp(&here));
  for (u64 token = 1; token <= 300; token++) {
    int fd = socket_open(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQ(socket_bind(fd, &here, sizeof here), 0);
    CHECK_EQ(poller_arm(fixture.poller, fd, POLLIN, ONE_SHOT, token), 0);
    CHECK_EQ(poller_remove(fixture.poller, fd), 0);
    descriptor_close(fd);
    CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
  }
  CHECK(has_no_notification(fixture));
  fixture_close(fixture);
}

/* The heap of a thread may run the destructors of the sockets and of the poller in any order. */
static void destroyed_with_armed_sockets(void) {
  for (int order = 0; order < 2; order++) {
    int before = descriptors_open();
    struct fixture fixture = fixture_open();
    for (int i = 0; i < 20; i++) {
      struct inet_address here;
      int fd = open_udp(&here);
      CHECK_EQ(poller_arm(fixture.poller, fd, POLLIN, ONE_SHOT, (u64)i + 1), 0);
    }
    if (order == 0) destroy_descriptors();
    fixture_close(fixture);
    destroy_descriptors();
    CHECK_EQ(descriptors_open(), before);
  }
}

/* ------------------------------------------------------------------------- failures ---- */

/*
 * Opens a poller with an injected fault. Checks that the error is returned, that no descriptor is
 * left open except those of the caller, and that a second attempt succeeds.
 */
static void check_open_failure(enum call call, int skip, int error) {
  int notify_fd;
  struct fixture fixture = fixture_create(&notify_fd);
  int before = descriptors_open();
  inject_fault(call, skip, 1, error);
  CHECK_EQ(fixture_try_open(fixture, notify_fd), -error);
  CHECK_EQ(descriptors_open(), before);
  CHECK_EQ(fixture.poller->epoll, -1);
  CHECK_EQ(fixture.poller->has_thread, 0);
  CHECK_EQ(fixture.poller->notify_fd, -1);
  CHECK(has_no_notification(fixture));
  clear_faults();
  CHECK_EQ(fixture_try_open(fixture, notify_fd), 0);
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(poller_arm(fixture.poller, right, POLLIN, ONE_SHOT, 1), 0);
  send_one(left);
  await_notification(fixture);
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

/* Checks the errors of an open poller. */
static void check_use_failures(void) {
  struct fixture fixture = fixture_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(poller_arm(fixture.poller, -1, POLLIN, ONE_SHOT, 1), -EBADF);
  CHECK_EQ(poller_remove(fixture.poller, left), -ENOENT);
  inject_fault(CALL_EPOLL_CTL, 0, 1, ENOMEM);
  CHECK_EQ(poller_arm(fixture.poller, left, POLLIN, ONE_SHOT, 1), -ENOMEM);
  /* Arming an unregistered descriptor takes two calls: EPOLL_CTL_MOD, then EPOLL_CTL_ADD. */
  inject_fault(CALL_EPOLL_CTL, 1, 1, ENOMEM);
  CHECK_EQ(poller_arm(fixture.poller, left, POLLIN, ONE_SHOT, 1), -ENOMEM);
  inject_fault(CALL_EPOLL_WAIT, 0, 1, EINTR);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
  inject_fault(CALL_EPOLL_WAIT, 0, 1000, EINTR);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 0);
  inject_fault(CALL_EPOLL_WAIT, 0, 1, EBADF);
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), -EBADF);
  clear_faults();
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

static void loop_failures(void) {
  check_open_failure(CALL_EPOLL_CREATE, 0, EMFILE);
  check_open_failure(CALL_DUP3, 0, EBADF);
  check_open_failure(CALL_EPOLL_CTL, 0, ENOMEM);

  /* Invalid descriptors: of the notifier, of the loop, and a loop that is the notifier itself. */
  int fd;
  struct fixture fixture = fixture_create(&fd);
  CHECK_EQ(poller_open_in_loop(fixture.poller, fixture.loop, -1, LOOP_DATA), -EBADF);
  prepare(1, 8, 0);
  CHECK_EQ(batch_receive(fd, messages, 1, 0, 0, 0), -EAGAIN);
  CHECK_EQ(poller_open_in_loop(fixture.poller, -1, fd, LOOP_DATA), -EBADF);
  CHECK_EQ(poller_open_in_loop(fixture.poller, fd, fd, LOOP_DATA), -EINVAL);
  CHECK_EQ(fixture.poller->epoll, -1);
  fixture_close(fixture);
  check_use_failures();
}

static void thread_failures(void) {
  check_open_failure(CALL_EPOLL_CREATE, 0, EMFILE);
  check_open_failure(CALL_EPOLL_CREATE, 1, EMFILE);
  check_open_failure(CALL_SOCKETPAIR, 0, EMFILE);
  check_open_failure(CALL_EPOLL_CTL, 0, ENOMEM);
  check_open_failure(CALL_EPOLL_CTL, 1, ENOMEM);
  check_open_failure(CALL_PTHREAD_CREATE, 0, EAGAIN);
  check_use_failures();
}

/* Bun's operations on the descriptor number of its socket apply to the poller's registration. */
static void operations_on_notifier(void) {
  struct fixture fixture = fixture_open();
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  CHECK_EQ(poller_arm(fixture.poller, right, POLLIN, PERSISTENT, 1), 0);
  send_one(left);
  await_notification(fixture);
  CHECK_EQ(fcntl(fixture.watched_fd, F_GETFD), 1);
  struct epoll_event event = {.events = 0, .data = LOOP_DATA};
  CHECK_EQ(real_epoll_ctl(fixture.loop, EPOLL_CTL_MOD, fixture.watched_fd, &event), 0);
  CHECK(has_no_notification(fixture));
  event.events = EPOLLIN;
  CHECK_EQ(real_epoll_ctl(fixture.loop, EPOLL_CTL_MOD, fixture.watched_fd, &event), 0);
  await_notification(fixture);
  CHECK_EQ(real_epoll_ctl(fixture.loop, EPOLL_CTL_DEL, fixture.watched_fd, &event), 0);
  CHECK(has_no_notification(fixture));
  /* The registration of the socket that had this number is gone as well. */
  int second_removal = real_epoll_ctl(fixture.loop, EPOLL_CTL_DEL, fixture.watched_fd, &event);
  CHECK_EQ(checked(second_removal), -ENOENT);
  struct ready ready[4];
  CHECK_EQ(poller_wait(fixture.poller, ready, 4), 1);
  descriptor_close(left);
  descriptor_close(right);
  fixture_close(fixture);
}

/* The list of descriptors and that of registrations are too long to be read with one call. */
static void registration_lookup(void) {
  enum { REGISTERED = 150 };
  int fds[REGISTERED];
  u64 data = 7;
  int loop = real_epoll_create1(EPOLL_CLOEXEC), other = real_epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data = LOOP_DATA};
  for (int i = 0; i < REGISTERED; i++) {
    fds[i] = socket_open(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQ(registration_find(fds[i], &data), -ENOENT);
    event.data = LOOP_DATA - (u64)i;
    CHECK_EQ(real_epoll_ctl(loop, EPOLL_CTL_ADD, fds[i], &event), 0);
  }
  CHECK_EQ(data, 7);
  for (int i = 0; i < REGISTERED; i++) {
    CHECK_EQ(registration_find(fds[i], &data), loop);
    CHECK_EQ(data, LOOP_DATA - (u64)i);
  }
  CHECK_EQ(registration_find(-1, &data), -ENOENT);
  CHECK_EQ(registration_find(fds[0] * 1000, &data), -ENOENT);
  CHECK_EQ(registration_find(loop, &data), -ENOENT);
  inject_fault(CALL_SYSCALL, 0, 1, ENOMEM);
  CHECK_EQ(registration_find(fds[0], &data), -ENOENT);
  clear_faults();
  /* Opening the list of descriptors fails, then opening the lists of registrations. */
  for (int skip = 0; skip < 2; skip++) {
    inject_fault(CALL_OPEN, skip, REGISTERED, EMFILE);
    CHECK_EQ(registration_find(fds[0], &data), -EMFILE);
    inject_fault(CALL_OPEN, skip, REGISTERED, EACCES);
    CHECK_EQ(registration_find(fds[0], &data), -ENOENT);
  }
  clear_faults();
  /* Registered with two epoll instances, then with the other one only. */
  CHECK_EQ(real_epoll_ctl(other, EPOLL_CTL_ADD, fds[0], &event), 0);
  CHECK_EQ(registration_find(fds[0], &data), -ENOENT);
  CHECK_EQ(real_epoll_ctl(loop, EPOLL_CTL_DEL, fds[0], &event), 0);
  CHECK_EQ(registration_find(fds[0], &data), other);
  /* A duplicate keeps the old registration of a number that refers to another file by then. */
  int duplicate = descriptor_duplicate(fds[1]);
  event.data = 1;
  CHECK_EQ(real_dup3(fds[0], fds[1], 0), fds[1]);
  CHECK_EQ(real_epoll_ctl(loop, EPOLL_CTL_ADD, fds[1], &event), 0);
  CHECK_EQ(registration_find(fds[1], &data), -ENOENT);
  descriptor_close(duplicate);
  /* Its number refers to another file than when it was opened. */
  CHECK_EQ(descriptor_close(fds[1]), -EBADF);
  CHECK_EQ(close(fds[1]), 0);
  for (int i = 0; i < REGISTERED; i++)
    if (i != 1) descriptor_close(fds[i]);
  close(loop);
  close(other);
}

static void poller_never_opened(void) {
  struct poller *poller = poller_create();
  CHECK_EQ(poller->epoll, -1);
  CHECK_EQ(poller->has_thread, 0);
  poller_destroy(poller, 0);
  inject_fault(CALL_MMAP, 0, 1, ENOMEM);
  CHECK(poller_create() == 0);
}

static void run_mode(const char *mode_name, void (*fail)(void)) {
  static const struct {
    const char *name;
    void (*run)(void);
  } sections[] = {
      {"a one-shot event is reported once, ready before or after arming", one_shot_events},
      {"a persistent event is reported until drained or disarmed", persistent_events},
      {"a full socket becomes writable when its peer is drained", writable_event},
      {"300 ready descriptors are reported once each", many_ready_descriptors},
      {"removed descriptors are not reported", removed_descriptors},
      {"destroying a poller with armed sockets leaks nothing", destroyed_with_armed_sockets},
  };
  char name[96];
  for (u32 i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    snprintf(name, sizeof name, "%s: %s", mode_name, sections[i].name);
    run_section(name, sections[i].run);
  }
  snprintf(name, sizeof name, "%s: failed calls return -errno and can be retried", mode_name);
  run_section(name, fail);
}

static void run_readiness(void) {
  run_section("a poller can be destroyed without being opened", poller_never_opened);
  run_section("registration_find finds a descriptor's only registration", registration_lookup);
  mode = MODE_LOOP;
  run_mode("loop", loop_failures);
  run_section("loop: operations on the notifier apply to the poller", operations_on_notifier);
  mode = MODE_THREAD;
  run_mode("thread", thread_failures);
}
