/**
 * Errors that `recvmmsg` and `sendmmsg` defer to the next call, and the options of the caller's
 * descriptor that they leave as they were.
 */

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { ReceiveVector } from "../../ffi/native.ts";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { recvmmsg, SocketAddress, sendmmsg, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { IP_RECVERR, IPPROTO_IP, SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { loadedNative } from "../ffi/tools.ts";
import { closedPort, numbered, targets, thrown } from "../tools/sockets.ts";

const ECONNREFUSED = 111;
/** The number of datagrams per system call. */
const PER_CALL = 1024;

const native = loadedNative();
const open: number[] = [];
afterEach(() => {
  for (const fd of open.splice(0)) native.close(fd);
});

/** Opens a descriptor that is bound to `port` of 127.0.0.1 and connected to `peerPort`. */
function openConnected(port: number, peerPort: number): number {
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  open.push(fd);
  expect(native.bind(fd, SocketAddress.ip("127.0.0.1", port)._encoded)).toBe(0);
  expect(native.connect(fd, SocketAddress.ip("127.0.0.1", peerPort)._encoded)).toBe(0);
  return fd;
}

function closeLast(): void {
  native.close(open.pop() as number);
}

describe("an error after a partial send", () => {
  test("is not thrown for another socket that has the same number and local address", async () => {
    using peer = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const [port, refusingPort] = [await closedPort(), await closedPort()];
    const refusing = openConnected(port, refusingPort);
    // On loopback the ICMP error about the first datagram arrives before the second is sent.
    expect(sendmmsg(refusing, numbered(5))).toBe(1);
    closeLast();
    const fd = openConnected(port, peer.localAddr.port);
    if (fd !== refusing) console.warn("not tested: another file has the number now");
    expect(sendmmsg(fd, numbered(1))).toBe(1);
  });

  test("is thrown by the next send of the same socket, once", async () => {
    const fd = openConnected(0, await closedPort());
    expect(sendmmsg(fd, numbered(5))).toBe(1);
    expect(thrown(() => sendmmsg(fd, numbered(1)))).toMatchObject({ code: "ECONNREFUSED" });
    expect(sendmmsg(fd, numbered(1))).toBe(1);
  });

  test.each([0, 1])("leaves IP_RECVERR of the descriptor at %i", async (value) => {
    const fd = openConnected(0, await closedPort());
    native.setIntOption(fd, IPPROTO_IP, IP_RECVERR, value);
    expect(sendmmsg(fd, numbered(5))).toBe(1);
    expect(native.getIntOption(fd, IPPROTO_IP, IP_RECVERR)).toBe(4);
    expect(native.scratch[0]).toBe(value);
  });
});

test("an error after the datagrams of the first system call is thrown by the next receive, once", () => {
  const fd = openConnected(0, 9);
  // The kernel reports an error before queued datagrams, unless it happens between two calls.
  const receive = spyOn(ReceiveVector.prototype, "receive");
  receive.mockReturnValueOnce(PER_CALL).mockReturnValueOnce(-ECONNREFUSED);
  try {
    expect(recvmmsg(fd, targets(PER_CALL + 10))).toBe(PER_CALL);
    expect(receive).toHaveBeenCalledTimes(2);
    const error = thrown(() => recvmmsg(fd, targets(1)));
    expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "recvmmsg" });
    expect(receive).toHaveBeenCalledTimes(2);
  } finally {
    receive.mockRestore();
  }
  expect(recvmmsg(fd, targets(1))).toBe(WouldBlock);
});
