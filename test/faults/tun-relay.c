/*
 * A link with faults: a TUN device in each of two network namespaces, and a relay between them that
 * drops, duplicates, delays, reorders and corrupts UDP packets at random, from a seed.
 *
 *     tun-relay NAMESPACE_A NAMESPACE_B DEVICE SEED LOSS DUPLICATION REORDERING DELAY_MS CORRUPTION
 *
 * The probabilities are per mille. A reordered packet is delayed by REORDER_MS more than others.
 * Prints "ready" when the devices exist. Ends when stdin is closed, after all delayed packets were
 * delivered, and prints the counts of each direction as JSON. A device without offloads: the kernel
 * segments GSO messages before the relay reads them, so that a packet is a datagram.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES_MAX 2048
#define DELAYED_MAX 65536
#define REORDER_MS 3

struct packet {
  double due_ms;
  int to;
  int length;
  uint8_t bytes[PACKET_BYTES_MAX];
};

/* The counts of one direction. in = out - duplicated + dropped. */
struct counts {
  unsigned long in, dropped, duplicated, reordered, corrupted, out;
};

/* A heap by due time; equal times keep the order of arrival through `sequence`. */
struct entry {
  double due_ms;
  unsigned long sequence;
  struct packet *packet;
};

static struct entry heap[DELAYED_MAX];
static int heap_count;
static unsigned long sequence;
static struct counts counts[2];
static int devices[2];
static uint64_t seed;

static unsigned random_mille(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (unsigned)((seed >> 20) % 1000);
}

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void fail(const char *what) {
  fprintf(stderr, "tun-relay: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_device(const char *network_namespace, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", network_namespace);
  int handle = open(path, O_RDONLY | O_CLOEXEC);
  if (handle < 0 || setns(handle, CLONE_NEWNET) < 0) fail(path);
  close(handle);
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) fail("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(device, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  return device;
}

static int is_before(const struct entry *left, const struct entry *right) {
  if (left->due_ms != right->due_ms) return left->due_ms < right->due_ms;
  return left->sequence < right->sequence;
}

static void push(struct entry added) {
  int i = heap_count++;
  while (i > 0 && is_before(&added, &heap[(i - 1) / 2])) {
    heap[i] = heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  heap[i] = added;
}

static struct entry pop(void) {
  struct entry first = heap[0], last = heap[--heap_count];
  int i = 0;
  for (;;) {
    int child = 2 * i + 1;
    if (child >= heap_count) break;
    if (child + 1 < heap_count && is_before(&heap[child + 1], &heap[child])) child++;
    if (!is_before(&heap[child], &last)) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return first;
}

static void deliver(int to, const uint8_t *bytes, int length, int is_udp) {
  /* EIO: the device is not up yet. */
  if (write(devices[to], bytes, (size_t)length) < 0 && (is_udp || errno != EIO)) fail("write");
  if (is_udp) counts[1 - to].out++;
}

static void delay(int to, const uint8_t *bytes, int length, double due_ms) {
  if (heap_count == DELAYED_MAX) {
    counts[1 - to].dropped++;
    return;
  }
  struct packet *packet = malloc(sizeof *packet);
  if (packet == NULL) fail("malloc");
  packet->to = to;
  packet->length = length;
  memcpy(packet->bytes, bytes, (size_t)length);
  push((struct entry){due_ms, sequence++, packet});
}

static void relay(int from, const int *settings) {
  static uint8_t bytes[PACKET_BYTES_MAX];
  const int to = 1 - from;
  for (int i = 0; i < 64; i++) {
    int length = (int)read(devices[from], bytes, sizeof bytes);
    if (length < 0 && errno == EAGAIN) return;
    if (length < 0) fail("read");
    int is_udp = bytes[0] >> 4 == 4 ? bytes[9] == 17 : bytes[6] == 17;
    if (!is_udp) {
      deliver(to, bytes, length, 0);
      continue;
    }
    counts[from].in++;
    if (random_mille() < (unsigned)settings[0]) {
      counts[from].dropped++;
      continue;
    }
    int copies = 1;
    if (random_mille() < (unsigned)settings[1]) {
      counts[from].duplicated++;
      copies++;
    }
    double due_ms = now_ms() + settings[3];
    if (random_mille() < (unsigned)settings[2]) {
      counts[from].reordered++;
      due_ms += REORDER_MS;
    }
    /* Without a delay at all, the order of reading is the order of writing. */
    while (copies-- > 0) {
      /* The last byte is payload: the kernel notices by the checksum, when the socket is read. */
      int is_corrupt = random_mille() < (unsigned)settings[4];
      if (is_corrupt) counts[from].corrupted++;
      bytes[length - 1] ^= (uint8_t)is_corrupt;
      delay(to, bytes, length, due_ms);
      bytes[length - 1] ^= (uint8_t)is_corrupt;
    }
  }
}

static void deliver_due(double until_ms) {
  while (heap_count > 0 && heap[0].due_ms <= until_ms) {
    struct packet *packet = pop().packet;
    deliver(packet->to, packet->bytes, packet->length, 1);
    free(packet);
  }
}

int main(int count, char **arguments) {
  if (count != 10) return 2;
  devices[0] = open_device(arguments[1], arguments[3]);
  devices[1] = open_device(arguments[2], arguments[3]);
  seed = strtoull(arguments[4], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
  int settings[5];
  for (int i = 0; i < 5; i++) settings[i] = atoi(arguments[5 + i]);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct pollfd polled[3] = {
        {devices[0], POLLIN, 0}, {devices[1], POLLIN, 0}, {0, POLLIN, 0}};
    poll(polled, 3, heap_count > 0 ? 1 : -1);
    relay(0, settings);
    relay(1, settings);
    deliver_due(now_ms());
    char byte;
    if (polled[2].revents != 0 && read(0, &byte, 1) <= 0) break;
  }
  deliver_due(1e18);
  for (int i = 0; i < 2; i++) {
    const struct counts *c = &counts[i];
    printf("%s{\"in\":%lu,\"dropped\":%lu,", i == 0 ? "[" : ",", c->in, c->dropped);
    printf("\"duplicated\":%lu,\"reordered\":%lu,", c->duplicated, c->reordered);
    printf("\"corrupted\":%lu,\"out\":%lu}%s", c->corrupted, c->out, i == 0 ? "" : "]\n");
  }
  return 0;
}
