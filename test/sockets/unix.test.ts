/** Unix datagram sockets: paths, abstract names, pairs, peers, errors, and socket files. */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AF_UNIX } from "../../lib/address/sockaddr.ts";
import { RecvMeta, SocketAddress, SocketError, UnixDatagram, WouldBlock } from "../../lib/index.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";
import { loadedNative } from "../ffi/tools.ts";
import {
  numbered,
  numberOf,
  openDescriptors,
  rejection,
  targets,
  thrown,
} from "../tools/sockets.ts";

const directory = mkdtempSync(join(tmpdir(), "datagram-socket-test-"));
afterAll(() => rmSync(directory, { recursive: true }));

let names = 0;

/** Returns an unused path. */
function freshPath(): string {
  return join(directory, `${names++}.sock`);
}

/** Returns an unused abstract address. */
function freshAbstract(): SocketAddress {
  return SocketAddress.abstract(`datagram-socket-test-${process.pid}-${names++}`);
}

/** Name lengths for which the address ends at each byte of a 32-bit word, and the maximum. */
const NAME_LENGTHS = [1, 2, 3, 4, 5, 106, 107];

describe("UnixDatagram", () => {
  test("sockets bound to paths send to a path, and report the path of the peer", async () => {
    const [leftPath, rightPath] = [freshPath(), freshPath()];
    await using left = await UnixDatagram.bind(leftPath);
    await using right = await UnixDatagram.bind(rightPath);
    expect(left.backend).toBe("native");
    expect(left.localAddr.address).toBe(leftPath);
    expect(left.localAddr.family).toBe("unix");
    expect(left.localAddr.port).toBe(0);
    expect(await left.sendTo(new Uint8Array([1, 2]), rightPath)).toBe(2);
    const buf = new Uint8Array(10);
    const { length, peer } = await right.recvFrom(buf);
    expect(length).toBe(2);
    expect(peer?.address).toBe(leftPath);
    expect(peer?.equals(left.localAddr)).toBe(true);
    expect(right.trySendTo(new Uint8Array([3]), peer as SocketAddress)).toBe(1);
    expect((await left.recvFrom(buf)).peer?.address).toBe(rightPath);
  });

  test("abstract names of any length are reported completely as the peer's address", async () => {
    await using receiver = await UnixDatagram.bind(freshAbstract());
    for (const length of NAME_LENGTHS) {
      const name = `${names++}`.padEnd(length, "x").slice(-length);
      await using sender = await UnixDatagram.bind(SocketAddress.abstract(name));
      expect(sender.localAddr.address).toBe(`\0${name}`);
      await sender.sendTo(new Uint8Array(length), receiver.localAddr);
      const meta = await receiver.recvFrom(new Uint8Array(200));
      expect(meta.length).toBe(length);
      expect(meta.peer?.address).toBe(`\0${name}`);
      await receiver.sendTo(new Uint8Array(1), meta.peer as SocketAddress);
      expect(await sender.recv(new Uint8Array(1))).toBe(1);
    }
  });

  test("paths of up to 107 bytes are reported completely as the peer's address", async () => {
    await using receiver = await UnixDatagram.bind(freshAbstract());
    for (const length of [directory.length + 2, directory.length + 3, 106, 107]) {
      const path = join(directory, "".padEnd(length - directory.length - 1, "p"));
      await using sender = await UnixDatagram.bind(path);
      await sender.sendTo(new Uint8Array(1), receiver.localAddr);
      const { peer } = await receiver.recvFrom(new Uint8Array(1));
      expect(peer?.address).toBe(path);
      await receiver.sendTo(new Uint8Array(1), path);
      expect(await sender.recv(new Uint8Array(1))).toBe(1);
    }
    expect(await rejection(UnixDatagram.bind("p".repeat(108)))).toBeInstanceOf(RangeError);
    expect(await rejection(UnixDatagram.bind(""))).toBeInstanceOf(RangeError);
    expect(await rejection(UnixDatagram.bind("a\0b"))).toBeInstanceOf(TypeError);
  });

  test("a peer with a path of 108 bytes, without terminating NUL, can be replied to", async () => {
    await using receiver = await UnixDatagram.bind(freshPath());
    const path = join(directory, "".padEnd(108 - directory.length - 1, "p"));
    const bytes = new Uint8Array(new ArrayBuffer(112));
    bytes[0] = AF_UNIX;
    bytes.set(new TextEncoder().encode(path), 2);
    const native = loadedNative();
    const fd = native.open(AF_UNIX, SOCK_DGRAM, 0);
    expect(native.bind(fd, { words: new Int32Array(bytes.buffer), length: 110 })).toBe(0);
    await using sender = await UnixDatagram.fromFd(fd);
    expect(sender.localAddr.address).toBe(path);
    const peers: (SocketAddress | undefined)[] = [];
    for (let i = 0; i < 2; i++) {
      await sender.sendTo(new Uint8Array(1), receiver.localAddr);
      peers.push((await receiver.recvFrom(new Uint8Array(1))).peer);
    }
    const [peer, again] = peers as [SocketAddress, SocketAddress];
    expect(peer).toBe(again);
    expect(peer.equals(sender.localAddr)).toBe(true);
    expect(await receiver.sendTo(new Uint8Array(1), peer)).toBe(1);
    expect(await sender.recv(new Uint8Array(1))).toBe(1);
  });

  test("an unnamed socket can send, and the receiver reports no peer", async () => {
    await using receiver = await UnixDatagram.bind(freshPath());
    await using sender = await UnixDatagram.unbound();
    expect(sender.localAddr.isUnnamed).toBe(true);
    await sender.sendTo(new Uint8Array(3), receiver.localAddr);
    const { length, peer } = await receiver.recvFrom(new Uint8Array(9));
    expect(length).toBe(3);
    expect(peer).toBeUndefined();
  });

  test("a batch from named and unnamed sockets reports the peer of each datagram", async () => {
    await using receiver = await UnixDatagram.bind(freshAbstract());
    await using named = await UnixDatagram.bind(
      SocketAddress.abstract(`${"n".repeat(40)}${names++}`),
    );
    await using short = await UnixDatagram.bind(SocketAddress.abstract(`s${names++}`));
    await using unnamed = await UnixDatagram.unbound();
    const senders = [named, unnamed, short, unnamed, named, short];
    for (const sender of senders) await sender.sendTo(new Uint8Array(1), receiver.localAddr);
    const meta = senders.map(() => new RecvMeta());
    expect(receiver.tryRecvMany(targets(6), { meta })).toBe(6);
    for (const [i, { peer }] of meta.entries()) {
      const sender = senders[i] as UnixDatagram;
      expect(peer?.address).toBe(sender === unnamed ? undefined : sender.localAddr.address);
    }
  });

  test("a pair is connected in both directions, and has no address", async () => {
    const [left, right] = await UnixDatagram.pair();
    expect(left.localAddr.isUnnamed).toBe(true);
    expect(await left.sendMany(numbered(3))).toBe(3);
    const buf = new Uint8Array(4);
    for (let i = 0; i < 3; i++) {
      const { length, peer } = await right.recvFrom(buf);
      expect([length, numberOf(buf)]).toEqual([4, i]);
      expect(peer?.address).toBeUndefined();
    }
    await right.send(new Uint8Array(0));
    expect(await left.recv(buf)).toBe(0);
    expect(left.tryRecv(buf)).toBe(WouldBlock);
    left.close();
    expect(await rejection(right.send(buf))).toBeInstanceOf(SocketError);
    right.close();
  });

  test("a connected socket rejects other destinations with EISCONN", async () => {
    await using peer = await UnixDatagram.bind(freshPath());
    await using other = await UnixDatagram.bind(freshPath());
    await using socket = await UnixDatagram.unbound({ connect: peer.localAddr.address });
    expect(socket.peerAddr?.equals(peer.localAddr)).toBe(true);
    await socket.send(new Uint8Array(1));
    await socket.sendTo(new Uint8Array(2), peer.localAddr);
    await socket.sendMany([new Uint8Array(3)], { to: peer.localAddr });
    for (const length of [1, 2, 3]) expect(await peer.recv(new Uint8Array(9))).toBe(length);
    const error = thrown(() => socket.trySendTo(new Uint8Array(1), other.localAddr));
    expect(error).toMatchObject({ code: "EISCONN" });
    expect(other.tryRecv(new Uint8Array(1))).toBe(WouldBlock);
  });

  test("a send to a closed peer fails with ECONNREFUSED, to no file with ENOENT", async () => {
    const path = freshPath();
    const abstract = freshAbstract();
    const peers = [await UnixDatagram.bind(path), await UnixDatagram.bind(abstract)];
    await using socket = await UnixDatagram.bind(freshPath());
    await using connected = await UnixDatagram.unbound({ connect: abstract });
    for (const peer of peers) peer.close();
    const bytes = new Uint8Array(1);
    expect(await rejection(socket.sendTo(bytes, path))).toMatchObject({
      code: "ENOENT",
      syscall: "sendto",
      address: `unix:${path}`,
    });
    const refused = { code: "ECONNREFUSED" };
    expect(thrown(() => socket.trySendTo(bytes, abstract))).toMatchObject(refused);
    expect(thrown(() => connected.trySend(bytes))).toMatchObject(refused);
    // A socket file without a socket, as a process leaves it that exits without removing the file.
    const stale = await UnixDatagram.bind(freshPath());
    const stalePath = stale.localAddr.address;
    const fd = stale.intoFd() as number;
    (await UnixDatagram.fromFd(fd)).close();
    expect(existsSync(stalePath)).toBe(true);
    expect(await rejection(socket.sendTo(bytes, stalePath))).toMatchObject(refused);
    await socket.sendTo(bytes, socket.localAddr);
    expect(await socket.recv(bytes)).toBe(1);
  });

  test("sendMany rejects at a datagram larger than the send buffer (EMSGSIZE)", async () => {
    await using receiver = await UnixDatagram.bind(freshPath());
    await using sender = await UnixDatagram.unbound({ sendBufferBytes: 8192 });
    const to = receiver.localAddr;
    const small = new Uint8Array(100);
    const large = new Uint8Array(sender.bufferBytes.send + 1);
    const tooLong = { code: "EMSGSIZE" };
    expect(await rejection(sender.sendTo(large, to))).toMatchObject(tooLong);
    const error = await rejection(sender.sendMany([small, small, large, small], { to }));
    expect(error).toMatchObject({ ...tooLong, sent: 2 });
    expect(await sender.sendTo(small, to)).toBe(100);
    expect(sender.counters.datagramsSent).toBe(3);
    expect(receiver.tryRecvMany(Array.from({ length: 9 }, () => new Uint8Array(100)))).toBe(3);
  });

  test("bind to the path of a file fails with EADDRINUSE and keeps the file", async () => {
    const path = freshPath();
    writeFileSync(path, "mine");
    const before = openDescriptors();
    const error = await rejection(UnixDatagram.bind(path));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EADDRINUSE", syscall: "bind", address: `unix:${path}` });
    expect(existsSync(path)).toBe(true);
    expect(openDescriptors()).toBe(before);
  });

  test("bind with a missing peer to connect to fails and leaves no socket file", async () => {
    const path = freshPath();
    const before = openDescriptors();
    const error = await rejection(UnixDatagram.bind(path, { connect: freshPath() }));
    expect(error).toMatchObject({ code: "ENOENT", syscall: "connect" });
    expect(existsSync(path)).toBe(false);
    expect(openDescriptors()).toBe(before);
  });

  test("close removes the socket file; a second close does not remove a new one", async () => {
    const path = freshPath();
    const socket = await UnixDatagram.bind(path);
    expect(existsSync(path)).toBe(true);
    socket.close();
    expect(existsSync(path)).toBe(false);
    await using next = await UnixDatagram.bind(path);
    socket.close();
    expect(existsSync(path)).toBe(true);
    expect(next.isClosed).toBe(false);
  });

  test("close keeps a file that has replaced its socket file", async () => {
    const path = freshPath();
    const first = await UnixDatagram.bind(path);
    unlinkSync(path);
    await using second = await UnixDatagram.bind(path);
    first.close();
    expect(existsSync(path)).toBe(true);
    await second.sendTo(new Uint8Array(1), path);
    expect(await second.recv(new Uint8Array(1))).toBe(1);
    // A missing file is not an error either.
    unlinkSync(path);
    second.close();
  });

  test("close of a path with a byte order mark keeps the file named without it", async () => {
    const home = process.cwd();
    process.chdir(directory);
    try {
      writeFileSync("marked", "another file");
      await using socket = await UnixDatagram.bind("\ufeffmarked");
      expect(socket.localAddr.address).toBe("\ufeffmarked");
      socket.close();
      expect(existsSync("marked")).toBe(true);
      expect(existsSync("\ufeffmarked")).toBe(false);
    } finally {
      process.chdir(home);
    }
  });

  test("close removes a relative path, also after a change of directory", async () => {
    const path = freshPath();
    const home = process.cwd();
    process.chdir(directory);
    try {
      const socket = await UnixDatagram.bind(path.slice(directory.length + 1));
      process.chdir("/");
      socket.close();
    } finally {
      process.chdir(home);
    }
    expect(existsSync(path)).toBe(false);
  });

  test("close after intoFd keeps the socket file, and the new owner receives there", async () => {
    const path = freshPath();
    const socket = await UnixDatagram.bind(path);
    const fd = socket.intoFd() as number;
    socket.close();
    expect(existsSync(path)).toBe(true);
    await using adopted = await UnixDatagram.fromFd(fd);
    await using sender = await UnixDatagram.unbound();
    await sender.sendTo(new Uint8Array(5), path);
    expect(await adopted.recv(new Uint8Array(9))).toBe(5);
  });

  test("invalid paths, addresses, options and buffers are refused", async () => {
    const udp = SocketAddress.ip("127.0.0.1", 1);
    expect(await rejection(UnixDatagram.bind(udp))).toBeInstanceOf(TypeError);
    expect(await rejection(UnixDatagram.bind(7 as never))).toBeInstanceOf(TypeError);
    expect(await rejection(UnixDatagram.unbound({ connect: udp }))).toBeInstanceOf(TypeError);
    expect(await rejection(UnixDatagram.pair({ sendBufferBytes: -1 }))).toBeInstanceOf(RangeError);
    await using socket = await UnixDatagram.unbound();
    expect(thrown(() => socket.trySendTo(new Uint8Array(1), udp))).toBeInstanceOf(TypeError);
    expect(thrown(() => socket.trySendTo(new Uint8Array(1), socket.localAddr))).toBeInstanceOf(
      TypeError,
    );
    expect(await rejection(socket.send(new Uint8Array(1)))).toMatchObject({ code: "ENOTCONN" });
    const error = thrown(() => socket.tryRecv("buffer" as never));
    expect(error).toBeInstanceOf(TypeError);
  });
});

describe('sendErrors "drop" on a UnixDatagram', () => {
  test("drops and counts datagrams to a path that does not exist", async () => {
    const receiver = await UnixDatagram.bind(freshPath());
    const sender = await UnixDatagram.unbound({ sendErrors: "drop" });
    const missing = SocketAddress.unix(freshPath());
    const to = [receiver.localAddr, missing, receiver.localAddr];
    const bufs = to.map(() => new Uint8Array(5));
    expect(await sender.sendMany(bufs, { to })).toBe(3);
    expect(sender.sendDropsByCode).toEqual({ ENOENT: 1 });
    expect(sender.counters).toMatchObject({ datagramsSent: 2, sendDrops: 1, sendErrors: 0 });
    expect(receiver.tryRecvMany(Array.from({ length: 3 }, () => new Uint8Array(5)))).toBe(2);
    sender.close();
    receiver.close();
  });

  test("is the only value beside throw", async () => {
    const error = await rejection(UnixDatagram.unbound({ sendErrors: "ignore" as never }));
    expect(`${error}`).toBe('TypeError: "sendErrors" expected "throw" or "drop", got "ignore"');
  });
});
