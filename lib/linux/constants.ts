/** Constants of Linux, as its headers define them for x64 and arm64. */

/** errno(3). */
export const ENOENT = 2;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const EEXIST = 17;
export const EINVAL = 22;
export const EDESTADDRREQ = 89;
export const EMSGSIZE = 90;
export const ENOBUFS = 105;
export const EISCONN = 106;
export const ENOTCONN = 107;

/** Socket types: socket(2), <bits/socket_type.h>. */
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;

/** Flags of receive calls: <bits/socket.h>. */
export const MSG_PEEK = 2;
export const MSG_ERRQUEUE = 0x2000;

/** Event bits of poll(2) and epoll(7). */
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;

/** Levels of socket options and of control messages. */
export const IPPROTO_IP = 0;
export const SOL_SOCKET = 1;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
/** <netinet/in.h>. */
export const IPPROTO_UDPLITE = 136;

/** Level SOL_SOCKET: <asm-generic/socket.h>. */
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEPORT = 15;
export const SO_TIMESTAMPNS = 35;
export const SO_MARK = 36;
export const SO_PROTOCOL = 38;
export const SO_RXQ_OVFL = 40;
export const SO_PEEK_OFF = 42;
export const SO_ATTACH_REUSEPORT_CBPF = 51;
export const SO_MEMINFO = 55;
export const SO_TXTIME = 61;
export const SO_DETACH_REUSEPORT_BPF = 68;
export const SCM_RIGHTS = 1;
export const SCM_TXTIME = 61;
export const SO_RCVMARK = 75;

/** Level IPPROTO_IP: <linux/in.h>. */
export const IP_TOS = 1;
export const IP_TTL = 2;
export const IP_PKTINFO = 8;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTTL = 12;
export const IP_RECVTOS = 13;
export const IP_MTU = 14;
export const IP_FREEBIND = 15;
export const IP_TRANSPARENT = 19;
export const IP_ORIGDSTADDR = 20;
export const IP_MULTICAST_IF = 32;
export const IP_MULTICAST_TTL = 33;
export const IP_MULTICAST_LOOP = 34;
export const IP_ADD_MEMBERSHIP = 35;
export const IP_DROP_MEMBERSHIP = 36;
export const IP_ADD_SOURCE_MEMBERSHIP = 39;
export const IP_DROP_SOURCE_MEMBERSHIP = 40;
export const IP_MULTICAST_ALL = 49;
/** Protocol-independent multicast (RFC 3678): sources with an interface index. */
export const MCAST_JOIN_SOURCE_GROUP = 46;
export const MCAST_LEAVE_SOURCE_GROUP = 47;

/** Level IPPROTO_IPV6: <linux/in6.h>. */
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MULTICAST_IF = 17;
export const IPV6_MULTICAST_HOPS = 18;
export const IPV6_MULTICAST_LOOP = 19;
export const IPV6_JOIN_GROUP = 20;
export const IPV6_LEAVE_GROUP = 21;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_MTU = 24;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_MULTICAST_ALL = 29;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPV6_RECVHOPLIMIT = 51;
export const IPV6_HOPLIMIT = 52;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;
export const IPV6_ORIGDSTADDR = 74;
export const IPV6_TRANSPARENT = 75;
export const IPV6_FREEBIND = 78;

/** Level IPPROTO_UDP: <linux/udp.h>. */
export const UDP_CORK = 1;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
