/*
 * A poller and what hears of it, in both ways: an event loop that watches it, as Bun's would, or
 * a helper thread that sends bytes to a socket which that loop watches.
 */

/* What Bun's loop would be told of its socket: a pointer, with all bits of 48 in use. */
#define LOOP_DATA 0xfffedcba9876ull

/* How a section opens its poller. */
static enum { BY_LOOP, BY_THREAD } mode;

/* A poller, and what is told of it. */
struct ears {
  struct poller *poller;
  int loop;  /* the event loop's epoll instance */
  int heard; /* what it watches: the bell itself, or its other end */
};

/* An event loop that watches a socket, as Bun's would. */
static void loop_with(struct ears *ears, int watched) {
  struct epoll_event event = {.events = EPOLLIN, .data = LOOP_DATA};
  ears->heard = watched;
  ears->loop = real_epoll_create1(EPOLL_CLOEXEC);
  IS(real_epoll_ctl(ears->loop, EPOLL_CTL_ADD, watched, &event), 0);
}

/* All that a poller is opened with. */
static struct ears ears_prepare(int *rung) {
  struct ears ears;
  int heard;
  if (mode == BY_LOOP) heard = *rung = socket_open(AF_INET, SOCK_DGRAM, 0);
  else pair_open(rung, &heard, SOCK_STREAM);
  loop_with(&ears, heard);
  ears.poller = poller_create();
  TRUE(ears.poller != 0);
  return ears;
}

static int ears_try(struct ears ears, int rung) {
  return mode == BY_LOOP ? poller_open_in_loop(ears.poller, ears.loop, rung, LOOP_DATA)
                         : poller_open_with_thread(ears.poller, rung);
}

static struct ears ears_open(void) {
  int rung;
  struct ears ears = ears_prepare(&rung);
  IS(ears_try(ears, rung), 0);
  return ears;
}

static void ears_close(struct ears ears) {
  poller_destroy(ears.poller, 0);
  close(ears.heard);
  close(ears.loop);
}

/* How many descriptors the loop has something to do with within a time. */
static int loop_waits(struct ears ears, int timeout_ms) {
  struct epoll_event events[4];
  int count = real_epoll_wait(ears.loop, events, 4, timeout_ms);
  for (int i = 0; i < count; i++) IS(events[i].data, LOOP_DATA);
  return count;
}

/*
 * Waits for the bell, and does what Bun does with it. One that does not ring ends the program:
 * all would wait.
 */
static void hear(struct ears ears) {
  if (loop_waits(ears, 10000) != 1) {
    printf("FAIL %s: no bell in 10 seconds\n", section);
    exit(1);
  }
  if (mode == BY_LOOP) {
    prepare(1, 8, 0);
    IS(batch_receive(ears.heard, messages, 1, 0, 0, 0), -ENOTSOCK);
    return;
  }
  u8 rings[256];
  while (read(ears.heard, rings, sizeof rings) == sizeof rings);
}

static int is_silent(struct ears ears) {
  return loop_waits(ears, 0) == 0;
}
