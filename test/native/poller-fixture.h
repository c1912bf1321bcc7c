/*
 * A poller, and an epoll instance in place of Bun's event loop that receives its notifications. In
 * "loop" mode that instance watches the poller itself; in "thread" mode it watches a stream
 * socket, to which the helper thread writes.
 */

/* The epoll_data of the event loop's registration. Bun stores a pointer, which has 48 bits. */
#define LOOP_DATA 0xfffedcba9876ull

/* The mode in which the sections open their pollers. */
static enum { MODE_LOOP, MODE_THREAD } mode;

struct fixture {
  struct poller *poller;
  int loop;       /* the event loop's epoll instance */
  int watched_fd; /* registered with `loop`: `notify_fd` (loop), or its peer (thread) */
};

/* Creates the event loop, and registers `watched_fd` with it. */
static void loop_create(struct fixture *fixture, int watched_fd) {
  struct epoll_event event = {.events = EPOLLIN, .data = LOOP_DATA};
  fixture->watched_fd = watched_fd;
  fixture->loop = real_epoll_create1(EPOLL_CLOEXEC);
  CHECK_EQ(real_epoll_ctl(fixture->loop, EPOLL_CTL_ADD, watched_fd, &event), 0);
}

/* Creates a poller and an event loop, and stores the descriptor to open the poller with. */
static struct fixture fixture_create(int *notify_fd) {
  struct fixture fixture;
  int watched_fd;
  if (mode == MODE_LOOP) watched_fd = *notify_fd = socket_open(AF_INET, SOCK_DGRAM, 0);
  else pair_open(notify_fd, &watched_fd, SOCK_STREAM);
  loop_create(&fixture, watched_fd);
  fixture.poller = poller_create();
  CHECK(fixture.poller != 0);
  return fixture;
}

static int fixture_try_open(struct fixture fixture, int notify_fd) {
  if (mode == MODE_THREAD) return poller_open_with_thread(fixture.poller, owner, notify_fd);
  return poller_open_in_loop(fixture.poller, fixture.loop, notify_fd, LOOP_DATA);
}

static struct fixture fixture_open(void) {
  int notify_fd;
  struct fixture fixture = fixture_create(&notify_fd);
  CHECK_EQ(fixture_try_open(fixture, notify_fd), 0);
  return fixture;
}

static void fixture_close(struct fixture fixture) {
  poller_destroy(fixture.poller, 0);
  close(fixture.watched_fd);
  close(fixture.loop);
}

/* Waits up to `timeout_ms` for a notification. Returns the number of ready descriptors, 0 or 1. */
static int loop_wait(struct fixture fixture, int timeout_ms) {
  struct epoll_event events[4];
  int count = real_epoll_wait(fixture.loop, events, 4, timeout_ms);
  for (int i = 0; i < count; i++) CHECK_EQ(events[i].data, LOOP_DATA);
  return count;
}

/*
 * Waits for a notification, and handles it as Bun does: a receive that fails (loop), or a read
 * (thread). If there is none, ends the program, because all later sections would time out as well.
 */
static void await_notification(struct fixture fixture) {
  if (loop_wait(fixture, 10000) != 1) {
    printf("FAIL %s: no notification in 10 seconds\n", section);
    exit(1);
  }
  if (mode == MODE_LOOP) {
    prepare(1, 8, 0);
    CHECK_EQ(batch_receive(fixture.watched_fd, messages, 1, 0, 0, 0), -ENOTSOCK);
    return;
  }
  u8 notified[256];
  while (read(fixture.watched_fd, notified, sizeof notified) == sizeof notified);
}

static int has_no_notification(struct fixture fixture) {
  return loop_wait(fixture, 0) == 0;
}
