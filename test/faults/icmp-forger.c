/*
 * Sends a forged ICMP or ICMPv6 error to a host, about a UDP datagram that it sends or does not.
 *
 *     icmp-forger FAMILY KIND SOURCE SOURCE_PORT DESTINATION PORT MTU COUNT QUOTED_HEX
 *
 * FAMILY is 4 or 6. KIND is "mtu" (fragmentation needed, packet too big) or "port" (port
 * unreachable). The message goes to SOURCE and quotes a datagram from SOURCE to DESTINATION with
 * the payload QUOTED_HEX ("-": none). COUNT is the number of messages.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint16_t checksum(const uint8_t *bytes, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) {
    int second = i + 1 < length ? bytes[i + 1] : 0;
    sum += (uint32_t)(bytes[i] << 8 | second);
  }
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

static void put16(uint8_t *at, unsigned value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

/* The path MTU is 1500 bytes: the quoted datagram is pretended to be a full packet. */
#define QUOTED_PACKET_BYTES 1500

int main(int count, char **arguments) {
  if (count != 10) return 2;
  const int is_ipv6 = arguments[1][0] == '6', is_mtu = strcmp(arguments[2], "mtu") == 0;
  const char *source = arguments[3], *destination = arguments[5];
  const unsigned mtu = (unsigned)atoi(arguments[7]);
  uint8_t message[1500] = {0};
  uint8_t *ip = message + 8;
  int ip_bytes;
  if (is_ipv6) {
    message[0] = is_mtu ? 2 : 1;
    message[1] = is_mtu ? 0 : 4;
    if (is_mtu) put16(message + 6, mtu);
    ip[0] = 0x60;
    put16(ip + 4, QUOTED_PACKET_BYTES - 40);
    ip[6] = 17;
    ip[7] = 60;
    inet_pton(AF_INET6, source, ip + 8);
    inet_pton(AF_INET6, destination, ip + 24);
    ip_bytes = 40;
  } else {
    message[0] = 3;
    message[1] = is_mtu ? 4 : 3;
    if (is_mtu) put16(message + 6, mtu);
    ip[0] = 0x45;
    put16(ip + 2, QUOTED_PACKET_BYTES);
    ip[6] = 0x40;
    ip[8] = 60;
    ip[9] = 17;
    inet_pton(AF_INET, source, ip + 12);
    inet_pton(AF_INET, destination, ip + 16);
    uint16_t sum = checksum(ip, 20);
    memcpy(ip + 10, &sum, 2);
    ip_bytes = 20;
  }
  uint8_t *udp = ip + ip_bytes;
  put16(udp, (unsigned)atoi(arguments[4]));
  put16(udp + 2, (unsigned)atoi(arguments[6]));
  put16(udp + 4, QUOTED_PACKET_BYTES - (unsigned)ip_bytes);
  int quoted = 0;
  for (const char *hex = arguments[9]; hex[0] != '-' && hex[0] && hex[1]; hex += 2, quoted++) {
    unsigned byte;
    sscanf(hex, "%2x", &byte);
    udp[8 + quoted] = (uint8_t)byte;
  }
  int length = 8 + ip_bytes + 8 + quoted;
  int fd = is_ipv6 ? socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
                   : socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  struct sockaddr_in to4 = {.sin_family = AF_INET};
  struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
  const struct sockaddr *to = is_ipv6 ? (struct sockaddr *)&to6 : (struct sockaddr *)&to4;
  inet_pton(AF_INET, source, &to4.sin_addr);
  inet_pton(AF_INET6, source, &to6.sin6_addr);
  /* The kernel computes the checksum of ICMPv6. */
  if (!is_ipv6) {
    uint16_t sum = checksum(message, length);
    memcpy(message + 2, &sum, 2);
  }
  for (int i = 0; i < atoi(arguments[8]); i++) {
    if (sendto(fd, message, (size_t)length, 0, to, is_ipv6 ? sizeof to6 : sizeof to4) < 0) {
      fprintf(stderr, "icmp-forger: %s\n", strerror(errno));
      return 1;
    }
  }
  return 0;
}
