/** What layout.test.ts compares: our names beside those of the headers. */

import { IOVEC, MMSGHDR } from "../../ffi/layout.ts";

/** Names of the shim's own, which no header knows. */
export const OWN: ReadonlySet<string> = new Set([
  "SHIM_ABI",
  "EINTR_RETRIES_MAX",
  "EPOLL_EVENTS_MAX",
  "OWNED_MAX",
  "PROBE_DATAGRAMS",
  "PROBE_STRIDE",
  "PROBE_BYTES",
  "SEGMENT_CONTROL_BYTES",
  "DESCRIPTORS",
  "EPOLL_LINK",
  "EPOLL_ENTRIES",
  "EPOLL_ENTRY",
]);

/** The shim's names for what the headers call otherwise. */
export const RENAMED: { readonly [name: string]: string } = {
  SYS_RECVMMSG: "SYS_recvmmsg",
  SYS_SENDMMSG: "SYS_sendmmsg",
  SYS_GETDENTS64: "SYS_getdents64",
  PROT_READ_WRITE: "(PROT_READ | PROT_WRITE)",
  MAP_PRIVATE_ANONYMOUS: "(MAP_PRIVATE | MAP_ANONYMOUS)",
};

/** The shim's structs and the headers'; and their fields, in pairs. */
export const STRUCTS: readonly [own: string, real: string, fields: readonly [string, string][]][] =
  [
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
  ];

/** C expressions that stand as numbers in ffi/layout.ts and in lib/, and those numbers. */
export const NUMBERS: readonly [expression: string, value: number][] = [
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
];

/** Constants of lib/ that stand for the size or place of something in C, by name. */
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
  DATA_WORD: "(sizeof(struct cmsghdr) / 4)",
};

/** What a constant of lib/ is called that stands for one of C. */
export const C_NAME: RegExp =
  /^(AF|SO|SOL|SOCK|IP|IPV6|IPPROTO|UDP|MCAST|MSG|SCM|F|O|POLL|SIG|TCP)_[A-Z0-9_]+$|^POLL[A-Z]+$|^E[A-Z]{3,}$/;

/** Names of that form which are the library's own. */
export const NOT_IN_C: ReadonlySet<string> = new Set(["SO_MARK_BYTES", "SO_EE_ORIGIN_BYTE"]);

export const HEADERS: string = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#if __has_include(<linux/errqueue.h>)
#include <linux/errqueue.h>
#endif
`;

/** Constants that stand in objects: how to find them in lib/linux/socket-options.ts, and what C calls them. */
export const IN_OBJECTS: readonly [source: RegExp, names: readonly string[]][] = [
  [
    /PATH_MTU_DISCOVERY = \{ off: (\d+), on: (\d+), probe: (\d+) \}/,
    ["IP_PMTUDISC_DONT", "IP_PMTUDISC_DO", "IP_PMTUDISC_PROBE"],
  ],
  [/CLOCKS = \{ monotonic: (\d+), tai: (\d+) \}/, ["CLOCK_MONOTONIC", "CLOCK_TAI"]],
];
