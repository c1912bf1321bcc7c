/** Mistakes in the sockets and the functions on descriptors. */

import type { Mutant } from "../mutant.ts";

const mmsg = "lib/sockets/mmsg.ts";
const asyncFd = "lib/sockets/async-fd.ts";
const adopt = "lib/sockets/adopt.ts";
const ownership = [
  "test/sockets/descriptor-ownership.test.ts",
  "test/sockets/foreign-descriptors.test.ts",
];

export const mutants: readonly Mutant[] = [
  {
    name: "a deferred error is thrown for another socket with the number and the name",
    file: mmsg,
    find: "const peer = native.peerName(fd);",
    replace: "const peer = 0;",
    tests: ["test/sockets/mmsg-errors.test.ts"],
  },
  {
    name: "an error after the first 1,024 datagrams is lost",
    file: mmsg,
    find: 'if (result < 0 && result !== -EAGAIN) defer(native, fd, "recvmmsg", -result);',
    replace: "",
    tests: ["test/sockets/mmsg-errors.test.ts"],
  },
  {
    name: "IP_RECVERR stays on the caller's descriptor",
    file: mmsg,
    find: "    if (!hadQueue) options.setReceiveErrors(false);\n",
    replace: "",
    tests: ["test/sockets/mmsg-errors.test.ts"],
  },
  {
    name: "IP_RECVERR of the caller is switched off",
    file: mmsg,
    find: "    if (!hadQueue) options.setReceiveErrors(false);\n",
    replace: "    options.setReceiveErrors(false);\n",
    tests: ["test/sockets/mmsg-errors.test.ts"],
  },
  {
    name: "a stream socket is read",
    file: mmsg,
    find: "if (type === SOCK_DGRAM || type === SOCK_RAW) return;",
    replace: "return;",
    tests: ["test/sockets/foreign-descriptors.test.ts"],
  },
  {
    name: "merged datagrams are received as one",
    file: mmsg,
    find: "if (native.scratch[0] === 0) return;",
    replace: "return;",
    tests: ["test/sockets/foreign-descriptors.test.ts"],
  },
  {
    name: "buffers stay alive after recvmmsg",
    file: mmsg,
    find: "    lists.targets.release(Math.min(end, BATCH_COUNT_MAX));\n",
    replace: "",
    tests: ["test/sockets/retained-memory.test.ts"],
  },
  {
    name: "the other end of a pair leaks when the set-up fails",
    file: "lib/sockets/unix.ts",
    find: "    return closeOnThrow(native, right, () => {\n",
    replace: "    return closeOnThrow(native, -1, () => {\n",
    tests: ["test/sockets/unix-failures.test.ts"],
  },
  {
    name: "the first socket of a pair leaks when the second cannot be created",
    file: "lib/sockets/unix.ts",
    find: "        first.close();\n",
    replace: "",
    tests: ["test/sockets/unix-failures.test.ts"],
  },
  {
    name: "a file is left behind when a Unix socket cannot be created",
    file: "lib/sockets/unix.ts",
    find: "      if (created.file !== undefined) removeFile(created.file);\n",
    replace: "",
    tests: ["test/sockets/unix-failures.test.ts"],
  },
  {
    name: "an AsyncFd does not keep the process alive",
    file: asyncFd,
    find: "    reactor.ref();\n",
    replace: "",
    tests: ["test/sockets/lifetime.test.ts"],
  },
  {
    name: "a closed AsyncFd keeps the process alive",
    file: asyncFd,
    find: "    this.#reactor.unref();\n",
    replace: "",
    tests: ["test/sockets/lifetime.test.ts"],
  },
  {
    name: "a descriptor is registered twice",
    file: asyncFd,
    find: "if (loaded.reactor.has(fd)) {",
    replace: "if (false) {",
    tests: ["test/sockets/mmsg.test.ts", ...ownership],
  },
  {
    name: "an adopted descriptor stays blocking",
    file: adopt,
    find: '  checkResult(native.setNonblocking(fd), "fcntl");\n',
    replace: "",
    tests: ownership,
  },
  {
    name: "a descriptor of this thread is adopted again",
    file: adopt,
    find: "if (reactor.has(fd)) {",
    replace: "if (false) {",
    tests: ownership,
  },
  {
    name: "an ICMP socket is adopted",
    file: adopt,
    find: "  if (family !== AF_UNIX) checkProtocol(native, fd);\n",
    replace: "",
    tests: ownership,
  },
  {
    name: "the segment size of the previous owner splits datagrams",
    file: adopt,
    find: "  native.setIntOption(fd, IPPROTO_UDP, UDP_SEGMENT, 0);\n",
    replace: "",
    tests: ownership,
  },
  {
    name: "UDP_CORK of the previous owner joins datagrams",
    file: adopt,
    find: "  native.setIntOption(fd, IPPROTO_UDP, UDP_CORK, 0);\n",
    replace: "",
    tests: ownership,
  },
  {
    name: "a socket leaks when its set-up fails",
    file: "lib/engine/native/open-socket.ts",
    find: "    native.close(fd);\n    throw error;",
    replace: "    throw error;",
    tests: ownership,
  },
  {
    name: "a bound socket leaks when its engine cannot be created",
    file: "lib/sockets/udp.ts",
    find: "    return closeOnThrow(native, fd, () => UdpSocket.#own(loaded, fd, options));",
    replace: "    return UdpSocket.#own(loaded, fd, options);",
    tests: ["test/sockets/descriptor-ownership.test.ts"],
  },
  {
    name: "a dual-stack socket sends IPv4 with the default TTL",
    file: "lib/linux/socket-options.ts",
    find: "IPPROTO_IP, IP_TTL",
    replace: "IPPROTO_IP, IP_RECVTTL",
    tests: ["test/sockets/udp-options.test.ts"],
  },
  {
    name: "close leaves the file of a Unix socket",
    file: "lib/sockets/unix.ts",
    find: "    if (file !== undefined) removeFile(file);\n",
    replace: "",
    tests: ["test/sockets/unix.test.ts"],
  },
  {
    name: "close removes a file that another socket has created",
    file: "lib/sockets/unix.ts",
    find: "if (stats?.dev === device && stats.ino === inode) rmSync",
    replace: "if (stats !== undefined) rmSync",
    tests: ["test/sockets/unix.test.ts"],
  },
  {
    name: "datagrams that Bun reads during a take-over are lost",
    file: "lib/sockets/take-over.ts",
    find: "else received.push({ bytes, peer: SocketAddress.ip(address, port) });",
    replace: "",
    tests: ["test/sockets/from-bun.test.ts"],
  },
  {
    name: "a descriptor leaks when a take-over fails",
    file: "lib/sockets/take-over.ts",
    find: "    native.close(fd);\n",
    replace: "",
    tests: ["test/sockets/from-bun.test.ts"],
  },
];
