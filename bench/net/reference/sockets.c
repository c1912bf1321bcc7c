/* UDP sockets on 127.0.0.1. */
#include "sockets.h"
#include "support.h"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

struct sockaddr_in loopback_address(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int loopback_socket(int connect_to, int receive_bytes) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in local = loopback_address(0), peer = loopback_address(connect_to);
  if (fd < 0) die("socket");
  if (receive_bytes &&
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes))
    die("SO_RCVBUF");
  if (bind(fd, (void *)&local, sizeof local)) die("bind");
  if (connect_to && connect(fd, (void *)&peer, sizeof peer)) die("connect");
  return fd;
}

void allow_many_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) die("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit)) die("setrlimit");
}

int port_of(int fd) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  getsockname(fd, (void *)&address, &length);
  return ntohs(address.sin_port);
}

void print_port(int fd) {
  printf("{\"port\":%d}\n", port_of(fd));
  fflush(stdout);
}
