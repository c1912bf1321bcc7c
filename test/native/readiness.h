/* The readiness half of shim-harness.c: the same sections for io_uring and the helper thread. */

/* How a section opens its reactor. */
static int (*open_mode)(struct reactor *, int);

struct ears {
  struct reactor *reactor;
  int heard;
};

/* A reactor with a bell; the bell's other end is `heard`. */
static struct ears ears_open(void) {
  int rung;
  struct ears ears;
  pair_open(&rung, &ears.heard, SOCK_STREAM);
  ears.reactor = reactor_create();
  TRUE(ears.reactor != 0);
  IS(open_mode(ears.reactor, rung), 0);
  return ears;
}

static void ears_close(struct ears ears) {
  reactor_destroy(ears.reactor, 0);
  close(ears.heard);
}

/* Waits for the bell, and empties it. One that does not ring ends the program: all would wait. */
static void hear(struct ears ears) {
  struct pollfd wait = {ears.heard, POLLIN, 0};
  if (poll(&wait, 1, 10000) != 1) {
    printf("FAIL %s: no bell in 10 seconds\n", section);
    exit(1);
  }
  u8 rings[256];
  while (read(ears.heard, rings, sizeof rings) == sizeof rings);
}

static int is_silent(struct ears ears) {
  struct pollfd wait = {ears.heard, POLLIN, 0};
  return poll(&wait, 1, 0) == 0;
}

static void armed_before_and_after(void) {
  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  for (int round = 0; round < rounds; round++) {
    u64 token = 0x1fffff00000000ull + (u64)round;
    int isReadyFirst = round & 1;
    if (isReadyFirst) send_one(left);
    IS(reactor_arm(ears.reactor, right, POLLIN, token), 0);
    if (!isReadyFirst) {
      IS(reactor_reap(ears.reactor, ready, 4), 0);
      TRUE(is_silent(ears));
      send_one(left);
    }
    int count;
    do {
      hear(ears);
      count = reactor_reap(ears.reactor, ready, 4);
    } while (count == 0);
    IS(count, 1);
    IS(ready[0].token, token);
    IS(ready[0].events & POLLIN, POLLIN);
    IS(drain(right), 1);
  }
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
  IS(reactor_arm(ears.reactor, left, POLLOUT, 5), 0);
  TRUE(is_silent(ears));
  TRUE(drain(right) > 0);
  hear(ears);
  IS(reactor_reap(ears.reactor, ready, 4), 1);
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
      count = reactor_reap(ears.reactor, ready, 3);
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
    IS(reactor_arm(ears.reactor, right[i], POLLIN, (u64)i + 1), 0);
  }
  for (int i = 0; i < COUNT; i++) send_one(left[i]);
  reap_all(ears, COUNT);
  for (int i = 0; i < COUNT; i++) descriptor_close(left[i]), descriptor_close(right[i]);
  ears_close(ears);
}

/* Two completions for each: more than CQ_ENTRIES, with the bell long full. */
static void overflow(void) {
  if (open_mode != ring_open) return;
  struct ears ears = ears_open();
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  for (u64 token = 1; token <= 6000; token++)
    IS(reactor_arm(ears.reactor, left, POLLOUT, token), 0);
  reap_all(ears, 6000);
  descriptor_close(left);
  descriptor_close(right);
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
    IS(reactor_arm(ears.reactor, fd, POLLIN, token), 0);
    IS(reactor_disarm(ears.reactor, fd, token), 0);
    descriptor_close(fd);
    int count = reactor_reap(ears.reactor, ready, 4);
    /* io_uring tells of the cancelled request, without events. */
    for (int i = 0; i < count; i++) {
      IS(ready[i].token, token);
      IS(ready[i].events, 0);
    }
  }
  TRUE(is_silent(ears));
  ears_close(ears);
}

/* The heap goes while sockets are open and armed: destroy closes all. */
static void destroyed_while_armed(void) {
  struct ears ears = ears_open();
  for (int i = 0; i < 20; i++) {
    struct inet_address here;
    int fd = open_udp(&here);
    ears.reactor->descriptors[i * 3000] = fd + 1;
    IS(reactor_arm(ears.reactor, fd, POLLIN, (u64)i + 1), 0);
  }
  ears_close(ears);
}

/* ------------------------------------------------------------------------- failures ---- */

/* Opens with a fault set: the error comes out, nothing is left, and it can be tried again. */
static void open_fails(enum door door, int skip, int error, int expected) {
  int rung, heard;
  pair_open(&rung, &heard, SOCK_STREAM);
  struct reactor *reactor = reactor_create();
  int before = descriptors_open();
  inject(door, skip, 1, error);
  IS(open_mode(reactor, rung), expected);
  IS(descriptors_open(), before);
  IS(reactor->mode, 0);
  IS(reactor->bell, -1);
  clear_faults();
  IS(open_mode(reactor, rung), 0);
  reactor_destroy(reactor, 0);
  close(heard);
}

static void ring_failures(void) {
  struct ready ready[4];
  /* Twice: with the flag that older kernels do not know, and without. */
  inject(AT_SYSCALL, 0, 1, EINVAL);
  ears_close(ears_open());
  int rung, heard;
  pair_open(&rung, &heard, SOCK_STREAM);
  struct reactor *reactor = reactor_create();
  inject(AT_SYSCALL, 0, 2, EPERM);
  IS(ring_open(reactor, rung), -EPERM);
  missing_features = IORING_FEAT_NODROP;
  IS(ring_open(reactor, rung), -ENOSYS);
  missing_features = IORING_FEAT_SINGLE_MMAP;
  IS(ring_open(reactor, rung), -ENOSYS);
  reactor_destroy(reactor, 0);
  close(rung);
  close(heard);
  clear_faults();
  open_fails(AT_MMAP, 0, ENOMEM, -ENOSYS);
  open_fails(AT_MMAP, 1, ENOMEM, -ENOSYS);

  struct ears ears = ears_open();
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  send_one(left);
  inject(AT_SYSCALL, 0, 1, EBUSY);
  IS(reactor_arm(ears.reactor, right, POLLIN, 1), -EBUSY);
  inject(AT_SYSCALL, 0, 5, EINTR);
  IS(reactor_arm(ears.reactor, right, POLLIN, 2), 0);
  inject(AT_SYSCALL, 0, 1000, EINTR);
  IS(reactor_arm(ears.reactor, right, POLLIN, 3), -EINTR);
  clear_faults();
  hear(ears);
  /* What was refused was not submitted by the next call. */
  IS(reactor_reap(ears.reactor, ready, 4), 1);
  IS(ready[0].token, 2);
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

static void helper_failures(void) {
  open_fails(AT_EPOLL_CREATE, 0, EMFILE, -EMFILE);
  open_fails(AT_EPOLL_CREATE, 1, EMFILE, -EMFILE);
  open_fails(AT_SOCKETPAIR, 0, EMFILE, -EMFILE);
  open_fails(AT_EPOLL_CTL, 0, ENOMEM, -ENOMEM);
  open_fails(AT_EPOLL_CTL, 1, ENOMEM, -ENOMEM);
  open_fails(AT_PTHREAD_CREATE, 0, EAGAIN, -EAGAIN);

  struct ears ears = ears_open();
  struct ready ready[4];
  int left, right;
  pair_open(&left, &right, SOCK_DGRAM);
  IS(reactor_arm(ears.reactor, -1, POLLIN, 1), -EBADF);
  IS(reactor_disarm(ears.reactor, left, 1), -ENOENT);
  inject(AT_EPOLL_WAIT, 0, 1, EINTR);
  IS(reactor_reap(ears.reactor, ready, 4), 0);
  clear_faults();
  descriptor_close(left);
  descriptor_close(right);
  ears_close(ears);
}

static void never_opened(void) {
  struct reactor *reactor = reactor_create();
  IS(reactor->mode, 0);
  reactor_destroy(reactor, 0);
  inject(AT_MMAP, 0, 1, ENOMEM);
  TRUE(reactor_create() == 0);
}

static void run_mode(const char *mode, int (*open)(struct reactor *, int), void (*fail)(void)) {
  static const struct {
    const char *name;
    void (*run)(void);
  } sections[] = {
      {"armed before and after", armed_before_and_after},
      {"full socket", full_socket},
      {"many at once", many_at_once},
      {"overflow", overflow},
      {"disarmed", disarmed},
      {"destroyed while armed", destroyed_while_armed},
  };
  char name[64];
  open_mode = open;
  for (u32 i = 0; i < sizeof sections / sizeof sections[0]; i++) {
    snprintf(name, sizeof name, "%s: %s", mode, sections[i].name);
    run_section(name, sections[i].run);
  }
  snprintf(name, sizeof name, "%s: failures", mode);
  run_section(name, fail);
}

static void run_readiness(void) {
  run_section("never opened", never_opened);
  run_mode("thread", helper_open, helper_failures);
  struct reactor *reactor = reactor_create();
  int result = ring_open(reactor, -1);
  reactor_destroy(reactor, 0);
  if (result == 0) run_mode("io_uring", ring_open, ring_failures);
  else printf("skip io_uring: io_uring_setup says errno %d\n", -result);
}
