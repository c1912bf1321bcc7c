/** Mistakes in c/shim.c. */

import type { Mutant } from "../mutant.ts";

const SEND = {
  file: "c/shim.c",
  tests: [
    "test/native/shim-harness.c",
    "test/ffi/control-truncation.test.ts",
    "test/ffi/message-vector.test.ts",
    "test/sockets/mmsg.test.ts",
    "test/sockets/udp-send-recv.test.ts",
  ],
};
const FDS = {
  file: "c/shim.c",
  tests: [
    "test/native/shim-harness.c",
    "test/ffi/poller.test.ts",
    "test/ffi/memory-lifetime.test.ts",
    "test/ffi/event-loop.test.ts",
    "test/sockets/descriptor-ownership.test.ts",
  ],
};
const SOCKETS = {
  file: "c/shim.c",
  tests: [
    "test/native/shim-harness.c",
    "test/sockets/socket-options.test.ts",
    "test/sockets/unix.test.ts",
    "test/sockets/udp.test.ts",
  ],
};
const LOAD = {
  file: "c/shim.c",
  tests: [
    "test/native/shim-harness.c",
    "test/ffi/load.test.ts",
    "test/offload/offload-option.test.ts",
    "test/linux/interfaces.test.ts",
  ],
};

export const mutants: readonly Mutant[] = [
  {
    ...SEND,
    name: "a send waits on a blocking descriptor",
    find: "(long)(MSG_DONTWAIT | MSG_NOSIGNAL)));",
    replace: "(long)MSG_NOSIGNAL));",
  },
  {
    ...SEND,
    name: "a receive waits on a blocking descriptor",
    find: "(long)(MSG_DONTWAIT | MSG_TRUNC | flags)",
    replace: "(long)(MSG_TRUNC | flags)",
  },
  {
    ...SEND,
    name: "the length of a truncated datagram is that of the buffer",
    find: "(long)(MSG_DONTWAIT | MSG_TRUNC | flags)",
    replace: "(long)(MSG_DONTWAIT | flags)",
  },
  {
    ...SEND,
    name: "the space for control messages is not set again before a receive",
    find: "    header->control_length = control_capacity;\n",
    replace: "    if (header->control_length == 0) header->control_length = control_capacity;\n",
  },
  {
    ...SEND,
    name: "the space for addresses is not set again before a receive",
    find: "    header->name_length = name_capacity;\n",
    replace: "    if (header->name_length == 0) header->name_length = name_capacity;\n",
  },
  {
    ...SEND,
    name: "a batch system call is not repeated after EINTR",
    find: "    while (result == -EINTR && ++tries < EINTR_RETRIES_MAX);",
    replace: "    while (0);",
  },
  {
    ...SEND,
    name: "a flood of signals repeats a system call without limit",
    find: "result == -EINTR && ++tries < EINTR_RETRIES_MAX",
    replace: "result == -EINTR && ++tries",
  },
  {
    ...SEND,
    name: "after a truncated copy the next datagram starts too early",
    find: "    bytes += size;\n",
    replace: "    bytes += fitting;\n",
  },
  {
    ...SEND,
    name: "a shorter last datagram is copied with a full stride",
    find: "u32 size = length < stride ? length : stride;",
    replace: "u32 size = stride;",
  },
  {
    ...SEND,
    name: "a copy exceeds a buffer that is too short",
    find: "u32 fitting = size < targets[i].length ? size : (u32)targets[i].length;",
    replace: "u32 fitting = size;",
  },
  {
    ...FDS,
    name: "mapped memory is not unmapped",
    find: "  munmap(memory, (unsigned long)length);\n",
    replace: "  (void)memory, (void)length;\n",
  },
  {
    ...FDS,
    name: "the table of a thread's descriptors is not unmapped",
    find: "    munmap(descriptors->identities, descriptors->capacity * sizeof(struct identity));\n  munmap(descriptors,",
    replace: "    (void)0;\n  munmap(descriptors,",
  },
  {
    ...FDS,
    name: "the memory of a poller is not unmapped",
    find: "  munmap(poller, sizeof *poller);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "memory that cannot be mapped is returned as address -1",
    find: "return memory == (void *)-1 ? 0 : memory;",
    replace: "return memory;",
  },
  {
    ...FDS,
    name: "the second end of a pair is not owned",
    find: "  descriptor_own(descriptors, fds[1]);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a descriptor at the capacity of the table is written after its end",
    find: "if (capacity > (u64)fd) return 1;",
    replace: "if (capacity >= (u64)fd) return 1;",
  },
  {
    ...FDS,
    name: "a table that is full grows to less than it needs",
    find: "while (capacity <= (u64)fd) capacity *= 2;",
    replace: "if (capacity <= (u64)fd) capacity *= 2;",
  },
  {
    ...FDS,
    name: "the owner of a descriptor does not record its device",
    find: "  descriptors->identities[fd].device = status.device;\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a reused number with the same inode on another device is closed",
    find: "         status.device == descriptors->identities[fd].device &&\n",
    replace: "",
  },
  {
    ...FDS,
    name: "closing a descriptor keeps it owned",
    find: "  descriptor_disown(descriptors, fd);\n  return is_foreign",
    replace: "  return is_foreign",
  },
  {
    ...FDS,
    name: "closing closes the foreign file that has the number now",
    find: "return is_foreign ? -EBADF : (int)checked(close(fd));",
    replace: "return (void)is_foreign, (int)checked(close(fd));",
  },
  {
    ...FDS,
    name: "the end of a thread closes foreign files with the numbers of its descriptors",
    find: "if (is_owned(descriptors, (int)fd) && is_unchanged(descriptors, (int)fd)) close((int)fd);",
    replace: "if (is_owned(descriptors, (int)fd)) close((int)fd);",
  },
  {
    ...FDS,
    name: "the end of a thread leaves its descriptors open",
    find: "if (is_owned(descriptors, (int)fd) && is_unchanged(descriptors, (int)fd)) close((int)fd);",
    replace: "(void)is_unchanged;",
  },
  {
    ...FDS,
    name: "a socket is inherited by child processes",
    find: "int fd = (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));",
    replace: "int fd = (int)checked(socket(domain, type | SOCK_NONBLOCK, protocol));",
  },
  {
    ...FDS,
    name: "a socket pair is inherited by child processes",
    find: "socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)",
    replace: "socketpair(domain, type | SOCK_NONBLOCK, 0, fds)",
  },
  {
    ...FDS,
    name: "the duplicate of a descriptor is inherited by child processes",
    find: "#define F_DUPFD_CLOEXEC 1030",
    replace: "#define F_DUPFD_CLOEXEC 0",
  },
  {
    ...FDS,
    name: "the epoll instance is inherited by child processes",
    find: "  long result = checked(poller->epoll = epoll_create1(EPOLL_CLOEXEC));\n  /* Closes",
    replace: "  long result = checked(poller->epoll = epoll_create1(0));\n  /* Closes",
  },
  {
    ...FDS,
    name: "the descriptor in the event loop is inherited by child processes",
    find: "dup3(poller->epoll, fd, EPOLL_CLOEXEC)",
    replace: "dup3(poller->epoll, fd, 0)",
  },
  {
    ...FDS,
    name: "the epoll instance of the helper thread is inherited by child processes",
    find: "checked(poller->thread_epoll = epoll_create1(EPOLL_CLOEXEC))",
    replace: "checked(poller->thread_epoll = epoll_create1(0))",
  },
  {
    ...SOCKETS,
    name: "a socket is opened in blocking mode",
    find: "int fd = (int)checked(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));",
    replace: "int fd = (int)checked(socket(domain, type | SOCK_CLOEXEC, protocol));",
  },
  {
    ...SOCKETS,
    name: "setting a descriptor to non-blocking clears its other flags",
    find: "fcntl(fd, F_SETFL, flags | O_NONBLOCK)",
    replace: "fcntl(fd, F_SETFL, O_NONBLOCK)",
  },
  {
    ...SOCKETS,
    name: "reading an option returns the capacity instead of the length",
    find: "  long result = checked(getsockopt(fd, level, name, value, &length));\n  return result < 0 ? (int)result : (int)length;",
    replace:
      "  long result = checked(getsockopt(fd, level, name, value, &length));\n  return result < 0 ? (int)result : (int)capacity;",
  },
  {
    ...SOCKETS,
    name: "the length of a peer's name is the capacity",
    find: "  long result = checked(getpeername(fd, address, &length));\n  return result < 0 ? (int)result : (int)length;",
    replace:
      "  long result = checked(getpeername(fd, address, &length));\n  return result < 0 ? (int)result : (int)capacity;",
  },
  {
    ...SOCKETS,
    name: "a connect that a signal interrupts fails with EINTR",
    find: "  RETRY_EINTR(result, connect(fd, address, length));\n",
    replace: "  result = checked(connect(fd, address, length));\n",
  },
  {
    ...LOAD,
    name: "the name of a missing interface has index 0",
    find: "return index != 0 ? (int)index : -*__errno_location();",
    replace: "return (int)index;",
  },
  {
    ...LOAD,
    name: "an interface is found by an address of the other family",
    find: "if (!address || *(const u16 *)address != family) continue;",
    replace: "if (!address) continue;",
  },
  {
    ...LOAD,
    name: "the list of interfaces is not freed",
    find: "  freeifaddrs(first);\n",
    replace: "",
  },
  {
    ...LOAD,
    name: "the probe of the offloads leaks its receiver",
    find: "  if (receiver >= 0) close(receiver);\n",
    replace: "",
  },
  {
    ...LOAD,
    name: "the probe trusts setsockopt for GRO",
    find: "    works += segments_pass(sender, receiver, 1);",
    replace: "    works += 1;",
  },
  {
    ...LOAD,
    name: "the probe does not compare the bytes that it receives",
    find: "    if (memcmp(received[m], sent + at, length) != 0) return 0;\n",
    replace: "",
  },
  {
    ...LOAD,
    name: "a published address has no leading zeros",
    find: 'PUBLISHED_PREFIX "%016llx"',
    replace: 'PUBLISHED_PREFIX "%llx"',
  },
  {
    ...LOAD,
    name: "a second thread replaces the published code",
    find: "  if (known && strncmp(known, PUBLISHED_PREFIX, sizeof PUBLISHED_PREFIX - 1) == 0) return 0;\n",
    replace: "  (void)known;\n",
  },
  {
    ...FDS,
    name: "a lack of descriptors in /proc is reported as not available",
    find: "return error == -EMFILE || error == -ENFILE || error == -ENOMEM ? error : -ENOENT;",
    replace: "return (void)error, -ENOENT;",
  },
  {
    ...FDS,
    name: "reading the registrations leaks a descriptor",
    find: "  close(file);\n  return found;",
    replace: "  return found;",
  },
  {
    ...FDS,
    name: "reading the list of descriptors leaks a descriptor",
    find: "  close(folder);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a line that is split between two reads is lost",
    find: "  u32 length = 0;\n  long bytes;\n  while ((bytes = read(file, chunk, sizeof chunk)) > 0) {",
    replace:
      "  u32 length;\n  long bytes;\n  while ((bytes = read(file, chunk, sizeof chunk)) > 0) {\n    length = 0;",
  },
  {
    ...FDS,
    name: "an ambiguous registration with event loops is accepted",
    find: "return found == 1 ? epoll : error;",
    replace: "return found >= 1 ? epoll : error;",
  },
  {
    ...FDS,
    name: "a descriptor error while the registrations are read is ignored",
    find: "      else if (count != -ENOENT) error = count;\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a failed installation in the event loop leaks the epoll instance",
    find: "  if (poller->epoll >= 0) close(poller->epoll);\n  poller->epoll = -1;\n  return (int)result;",
    replace: "  poller->epoll = -1;\n  return (int)result;",
  },
  {
    ...FDS,
    name: "the helper thread wakes the event loop all the time while a socket is ready",
    find: "event.events = EPOLLIN | EPOLLET; /*",
    replace: "event.events = EPOLLIN; /*",
  },
  {
    ...FDS,
    name: "the helper thread ends when a signal interrupts it",
    find: "if (count < 0 && *__errno_location() != EINTR) return 0;",
    replace: "if (count < 0) return 0;",
  },
  {
    ...FDS,
    name: "a notification that could not be sent for lack of memory is lost",
    find: "is_unsent = sent == -EINTR || sent == -ENOMEM || sent == -ENOBUFS;",
    replace: "is_unsent = sent == -EINTR;",
  },
  {
    ...FDS,
    name: "a notification that the full socket refused is retried forever",
    find: "is_unsent = sent == -EINTR || sent == -ENOMEM || sent == -ENOBUFS;",
    replace: "is_unsent = sent < 0;",
  },
  {
    ...FDS,
    name: "the helper thread takes signals",
    find: "for (int i = 0; i < 16; i++) all[i] = ~0ULL;",
    replace: "for (int i = 0; i < 16; i++) all[i] = 0;",
  },
  {
    ...FDS,
    name: "starting the helper thread leaves all signals blocked",
    find: "    pthread_sigmask(SIG_SETMASK, old, 0);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "closing a poller leaks its stop descriptor",
    find: "  if (poller->stop >= 0) close(poller->stop);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "closing a poller leaks the epoll instance of the helper thread",
    find: "  if (poller->thread_epoll >= 0) close(poller->thread_epoll);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a poller is freed while its helper thread runs",
    find: "  if (poller->has_thread) pthread_join(poller->thread, 0);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "the notifier's descriptor is owned twice",
    find: "  poller->has_thread = 1;\n  descriptor_disown(descriptors, fd);\n",
    replace: "  poller->has_thread = 1;\n  (void)descriptors;\n",
  },
  {
    ...FDS,
    name: "a failed start of the helper thread closes the notifier's descriptor later",
    find: "    poller->notify_fd = -1;\n    poller_close(poller);",
    replace: "    poller_close(poller);",
  },
  {
    ...FDS,
    name: "the notifier's descriptor stays open after the poller",
    find: "  if (poller->notify_fd >= 0) close(poller->notify_fd);\n",
    replace: "",
  },
  {
    ...FDS,
    name: "a registration for one event reports all events",
    find: "event.events = is_once ? events | EPOLLONESHOT : events;",
    replace: "event.events = is_once ? events : events;",
  },
  {
    ...FDS,
    name: "waiting fails when a signal interrupts it",
    find: "return count == -EINTR ? 0 : (int)count;",
    replace: "return (int)count;",
  },
  {
    ...FDS,
    name: "waiting stores more ready descriptors than there is room for",
    find: "u32 limit = capacity < EPOLL_EVENTS_MAX ? capacity : EPOLL_EVENTS_MAX;",
    replace: "u32 limit = capacity < EPOLL_EVENTS_MAX ? EPOLL_EVENTS_MAX : EPOLL_EVENTS_MAX;",
  },
];
