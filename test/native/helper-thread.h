/*
 * The sections of shim-harness.c about the helper thread of "thread" mode: calls that fail within
 * the thread, and signals.
 */

#define SIG_BLOCK 0
#define SIGUSR1 10

/* How long to wait for a notification that a mistake would lose. */
#define EXPECTED_MS 2000

extern void (*signal(int number, void (*handler)(int)))(int);
extern int kill(int process, int number);
extern int getpid(void);

/* A poller in "thread" mode, and a connected pair whose second socket it watches. */
struct watched {
  struct fixture fixture;
  int left, right;
};

static struct watched watched_open(void) {
  struct watched watched = {.fixture = fixture_open()};
  pair_open(&watched.left, &watched.right, SOCK_DGRAM);
  return watched;
}

static void watched_close(struct watched watched) {
  descriptor_close(watched.left);
  descriptor_close(watched.right);
  fixture_close(watched.fixture);
}

/* Makes the watched socket ready. The helper thread then sends a notification. */
static void make_ready(struct watched watched) {
  CHECK_EQ(poller_arm(watched.fixture.poller, watched.right, POLLIN, ONE_SHOT, 1), 0);
  send_one(watched.left);
}

/* Checks that there is a notification, and takes it and the event. */
static void take_event(struct watched watched) {
  struct ready ready[4];
  u8 notified[256];
  CHECK_EQ(loop_wait(watched.fixture, EXPECTED_MS), 1);
  CHECK(read(watched.fixture.watched_fd, notified, sizeof notified) > 0);
  CHECK_EQ(poller_wait(watched.fixture.poller, ready, 4), 1);
  CHECK_EQ(drain(watched.right), 1);
}

/* A signal that only stops and continues the process interrupts epoll_wait (signal(7)). */
static void interrupted_helper(void) {
  struct watched watched = watched_open();
  __atomic_store_n(&helper_faults.interrupted_waits, 3, __ATOMIC_SEQ_CST);
  for (int round = 0; round < 3; round++) {
    make_ready(watched);
    take_event(watched);
  }
  CHECK_EQ(__atomic_load_n(&helper_faults.interrupted_waits, __ATOMIC_SEQ_CST), 0);
  watched_close(watched);
}

static void unsent_notifications(void) {
  static const int errors[] = {ENOMEM, ENOBUFS, EINTR};
  struct watched watched = watched_open();
  for (u32 i = 0; i < sizeof errors / sizeof errors[0]; i++) {
    __atomic_store_n(&helper_faults.send_error, errors[i], __ATOMIC_SEQ_CST);
    __atomic_store_n(&helper_faults.failing_sends, 2, __ATOMIC_SEQ_CST);
    make_ready(watched);
    take_event(watched);
    CHECK_EQ(__atomic_load_n(&helper_faults.failing_sends, __ATOMIC_SEQ_CST), 0);
  }
  watched_close(watched);
}

/* Waits, without a notification: the event loop is not asked. */
static void pause_ms(int timeout_ms) {
  struct epoll_event event;
  int empty = real_epoll_create1(EPOLL_CLOEXEC);
  CHECK_EQ(real_epoll_wait(empty, &event, 1, timeout_ms), 0);
  close(empty);
}

/* While earlier bytes are unread, the event loop has a notification to handle. */
static void full_notifier(void) {
  static const u8 filling[4096];
  struct watched watched = watched_open();
  int notify_fd = watched.fixture.poller->notify_fd;
  while (real_send(notify_fd, filling, sizeof filling, MSG_DONTWAIT) > 0);
  while (real_send(notify_fd, filling, 1, MSG_DONTWAIT) > 0);
  int before = __atomic_load_n(&helper_faults.sends, __ATOMIC_SEQ_CST);
  make_ready(watched);
  for (int waited_ms = 0; waited_ms < EXPECTED_MS; waited_ms++) {
    if (__atomic_load_n(&helper_faults.sends, __ATOMIC_SEQ_CST) > before) break;
    pause_ms(1);
  }
  pause_ms(UNEXPECTED_MS);
  CHECK_EQ(__atomic_load_n(&helper_faults.sends, __ATOMIC_SEQ_CST) - before, 1);
  u8 notified[4096];
  while (read(watched.fixture.watched_fd, notified, sizeof notified) > 0);
  watched_close(watched);
}

#ifndef EMULATED /* qemu has threads of its own */
static int signals_taken;

static void on_signal(int number) {
  (void)number;
  __atomic_add_fetch(&signals_taken, 1, __ATOMIC_SEQ_CST);
}

/* A signal for the process, which this thread blocks for a while, is not taken by the helper. */
static void signals_of_the_process(void) {
  struct watched watched = watched_open();
  u64 blocked[16] = {1ull << (SIGUSR1 - 1)}, before[16];
  void (*former)(int) = signal(SIGUSR1, on_signal);
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, blocked, before), 0);
  CHECK_EQ(kill(getpid(), SIGUSR1), 0);
  pause_ms(UNEXPECTED_MS);
  CHECK_EQ(__atomic_load_n(&signals_taken, __ATOMIC_SEQ_CST), 0);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, before, 0), 0);
  pause_ms(1);
  CHECK_EQ(__atomic_load_n(&signals_taken, __ATOMIC_SEQ_CST), 1);
  signal(SIGUSR1, former);
  watched_close(watched);
}
#endif

static void run_helper_thread(void) {
  mode = MODE_THREAD;
  run_section("thread: the helper continues when its wait is interrupted", interrupted_helper);
  run_section("thread: a notification that could not be sent is sent later", unsent_notifications);
  run_section("thread: a notification to a full event loop is not repeated", full_notifier);
#ifndef EMULATED
  run_section("thread: signals are left to the other threads", signals_of_the_process);
#endif
}
