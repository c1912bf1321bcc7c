/** The constants, structs and layouts that layout.test.ts compares with the C headers. */

import { IOVEC, MMSGHDR, SOCK_FILTER, SOCK_FPROG } from "../../ffi/layout.ts";

/** Constants of the shim that no header defines. */
export const SHIM_ONLY: ReadonlySet<string> = new Set([
  "SHIM_ABI",
  "EINTR_RETRIES_MAX",
  "NOTIFY_RETRY_MS",
  "EPOLL_EVENTS_MAX",
  "DESCRIPTORS_MIN",
  "PROBE_DATAGRAMS",
  "PROBE_STRIDE",
  "PROBE_BYTES",
  "SEGMENT_CONTROL_BYTES",
  "DESCRIPTORS",
  "EPOLL_LINK",
  "EPOLL_ENTRIES",
  "EPOLL_ENTRY",
  "PUBLISHED_PREFIX",
  "PUBLISHED_FORMAT",
  "PUBLISHED_BYTES",
  // Newer than the headers of some systems: Linux 6.5.
  "SCM_PIDFD",
]);

/** Constants of the shim whose name differs from the header's: the C expression of the value. */
export const RENAMED: { readonly [name: string]: string } = {
  SYS_RECVMMSG: "SYS_recvmmsg",
  SYS_SENDMMSG: "SYS_sendmmsg",
  SYS_SENDTO: "SYS_sendto",
  SYS_GETDENTS64: "SYS_getdents64",
  SYS_FSTAT: "SYS_fstat",
  PROT_READ_WRITE: "(PROT_READ | PROT_WRITE)",
  MAP_PRIVATE_ANONYMOUS: "(MAP_PRIVATE | MAP_ANONYMOUS)",
};

/** The structs that the shim declares, those of the headers, and pairs of corresponding fields. */
export const STRUCTS: readonly [
  shim: string,
  header: string,
  fields: readonly [shim: string, header: string][],
][] = [
  [
    "struct file_status",
    "struct stat",
    [
      ["device", "st_dev"],
      ["inode", "st_ino"],
    ],
  ],
  [
    "struct msghdr",
    "struct msghdr",
    [
      ["name", "msg_name"],
      ["name_length", "msg_namelen"],
      ["vector", "msg_iov"],
      ["vector_length", "msg_iovlen"],
      ["control", "msg_control"],
      ["control_length", "msg_controllen"],
      ["flags", "msg_flags"],
    ],
  ],
  [
    "struct mmsghdr",
    "struct mmsghdr",
    [
      ["header", "msg_hdr"],
      ["length", "msg_len"],
    ],
  ],
  [
    "struct iovec",
    "struct iovec",
    [
      ["base", "iov_base"],
      ["length", "iov_len"],
    ],
  ],
  [
    "struct cmsghdr",
    "struct cmsghdr",
    [
      ["length", "cmsg_len"],
      ["level", "cmsg_level"],
      ["type", "cmsg_type"],
    ],
  ],
  [
    "struct inet_address",
    "struct sockaddr_in",
    [
      ["family", "sin_family"],
      ["port", "sin_port"],
      ["address", "sin_addr"],
    ],
  ],
  [
    "struct epoll_event",
    "struct epoll_event",
    [
      ["events", "events"],
      ["data", "data"],
    ],
  ],
  [
    "struct ifaddrs",
    "struct ifaddrs",
    [
      ["next", "ifa_next"],
      ["name", "ifa_name"],
      ["address", "ifa_addr"],
    ],
  ],
];

/** The offsets and sizes of ffi/layout.ts, and the C expressions that they must equal. */
export const LAYOUT_NUMBERS: readonly [expression: string, value: number][] = [
  ["sizeof(struct mmsghdr)", MMSGHDR.size],
  ["offsetof(struct mmsghdr, msg_hdr.msg_name)", MMSGHDR.name],
  ["offsetof(struct mmsghdr, msg_hdr.msg_namelen)", MMSGHDR.nameLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iov)", MMSGHDR.vector],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iovlen)", MMSGHDR.vectorLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_control)", MMSGHDR.control],
  ["offsetof(struct mmsghdr, msg_hdr.msg_controllen)", MMSGHDR.controlLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_flags)", MMSGHDR.flags],
  ["offsetof(struct mmsghdr, msg_len)", MMSGHDR.length],
  ["sizeof(struct iovec)", IOVEC.size],
  ["offsetof(struct iovec, iov_base)", IOVEC.base],
  ["offsetof(struct iovec, iov_len)", IOVEC.length],
  ["sizeof(struct sock_fprog)", SOCK_FPROG.size],
  ["offsetof(struct sock_fprog, len)", SOCK_FPROG.length],
  ["offsetof(struct sock_fprog, filter)", SOCK_FPROG.filter],
  ["sizeof(struct sock_filter)", SOCK_FILTER.size],
];

/** Constants of lib/ that are sizes or offsets of C structs, and their C expressions. */
export const LAYOUT_CONSTANTS: { readonly [name: string]: string } = {
  SOCKADDR_IN_BYTES: "sizeof(struct sockaddr_in)",
  SOCKADDR_IN6_BYTES: "sizeof(struct sockaddr_in6)",
  SOCKADDR_UN_BYTES: "sizeof(struct sockaddr_un)",
  UNIX_PATH_OFFSET: "offsetof(struct sockaddr_un, sun_path)",
  UNIX_PATH_BYTES_MAX: "(sizeof(((struct sockaddr_un *)0)->sun_path) - 1)",
  GROUP_SOURCE_REQ_BYTES: "sizeof(struct group_source_req)",
  GROUP_OFFSET: "offsetof(struct group_source_req, gsr_group)",
  SOURCE_OFFSET: "offsetof(struct group_source_req, gsr_source)",
  HEADER_BYTES: "sizeof(struct cmsghdr)",
  LEVEL_WORD: "(offsetof(struct cmsghdr, cmsg_level) / 4)",
  TYPE_WORD: "(offsetof(struct cmsghdr, cmsg_type) / 4)",
  INSTRUCTION_BYTES: "sizeof(struct sock_filter)",
  DATA_WORD: "(sizeof(struct cmsghdr) / 4)",
};

/** Matches the names of constants in ffi/ and lib/ that are copies of C constants. */
export const C_CONSTANT_NAME: RegExp =
  /^(AF|SO|SOL|SOCK|IP|IPV6|IPPROTO|UDP|MCAST|MSG|SCM|F|O|POLL|SIG|TCP)_[A-Z0-9_]+$|^POLL[A-Z]+$|^E[A-Z]{3,}$/;

/** Names that match `C_CONSTANT_NAME`, but exist only in the library. */
export const NOT_IN_C: ReadonlySet<string> = new Set(["SO_MARK_BYTES", "SO_EE_ORIGIN_BYTE"]);

/** The start of a C program that uses the headers. */
export const HEADERS: string = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#if __has_include(<linux/filter.h>)
#include <linux/filter.h>
#else
struct sock_filter { unsigned short code; unsigned char jt, jf; unsigned int k; };
struct sock_fprog { unsigned short len; struct sock_filter *filter; };
#endif
#include <signal.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#if __has_include(<linux/errqueue.h>)
#include <linux/errqueue.h>
#endif
`;

/**
 * Objects in lib/linux/socket-options.ts whose values are C constants: a pattern that captures the
 * values, and the names of the constants.
 */
export const OBJECT_CONSTANTS: readonly [source: RegExp, names: readonly string[]][] = [
  [
    /PATH_MTU_DISCOVERY = \{ off: (\d+), on: (\d+), probe: (\d+) \}/,
    ["IP_PMTUDISC_DONT", "IP_PMTUDISC_DO", "IP_PMTUDISC_PROBE"],
  ],
  [/CLOCKS = \{ monotonic: (\d+), tai: (\d+) \}/, ["CLOCK_MONOTONIC", "CLOCK_TAI"]],
];
