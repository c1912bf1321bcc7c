/*
 * The contender in C for Unix datagrams, with the roles of peers/run-peer.ts. A full receiver
 * blocks its sender, so no datagram is lost.
 *
 *   reference unix unix-sink SECONDS PATH
 *   reference unix unix-send SECONDS PATH    continues until it is killed
 */
#include "datagrams.h"
#include "measurement.h"
#include "roles.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static char bytes[BATCH][DATAGRAM_BYTES + 64];

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) exit(2);
  strcpy(address.sun_path, path);
  return address;
}

static int run_sink(double seconds, const char *path) {
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct sockaddr_un address = address_of(path);
  struct measurement measurement = {0};
  if (fd < 0 || bind(fd, (void *)&address, sizeof address)) die("bind");
  printf("{\"port\":0}\n");
  fflush(stdout);
  for (int i = 0; i < BATCH; i++) vectors[i] = (struct iovec){bytes[i], sizeof bytes[i]};
  for (;;) {
    for (int i = 0; i < BATCH; i++)
      messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0) die("recvmmsg");
    calls_made++;
    for (int i = 0; i < count; i++) check_received(bytes[i], (int)messages[i].msg_len);
    if (measurement_record(&measurement, count, seconds)) return 0;
  }
}

static int run_sender(double seconds, const char *path) {
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0), is_done = 0;
  struct sockaddr_un address = address_of(path);
  struct measurement measurement = {0};
  if (fd < 0 || connect(fd, (void *)&address, sizeof address)) die("connect");
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){(void *)datagram(i), DATAGRAM_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  for (int sent = 0;;) {
    int count = sendmmsg(fd, messages + sent, (unsigned)(BATCH - sent), 0);
    /* Fails when the receiver has exited, which is expected after this measurement. */
    if (count < 0) return is_done ? 0 : 1;
    calls_made++;
    if (!is_done) is_done = measurement_record(&measurement, count, seconds);
    sent = (sent + count) % BATCH;
  }
}

int run_unix_contender(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  if (!strcmp(role, "unix-sink") && count == 4) return run_sink(atof(arguments[2]), arguments[3]);
  if (!strcmp(role, "unix-send") && count == 4)
    return run_sender(atof(arguments[2]), arguments[3]);
  return 2;
}
