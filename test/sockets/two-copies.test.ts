/** Two copies of the library in one process, of the same version and of different versions. */

import { afterAll, describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { join } from "node:path";
import * as own from "../../lib/index.ts";
import { ABI_VERSION } from "../../lib/support/thread-state.ts";
import { exports, version } from "../../package.json";
import { LibraryCopy } from "../tools/copies.ts";
import { endedWell, openDescriptors, runScript } from "../tools/sockets.ts";

/** The modules that the package exports, except the one that only changes `node:dgram`. */
const ENTRY_POINTS = Object.values(exports)
  .map((entry) => (typeof entry === "string" ? entry : entry.default))
  .filter((path) => path.endsWith(".ts") && !path.includes("/register/"));

const copy = new LibraryCopy();
const second = await copy.load();
const otherCopy = new LibraryCopy("0.0.0-other");
const other = await otherCopy.load();
afterAll(() => {
  copy[Symbol.dispose]();
  otherCopy[Symbol.dispose]();
});

const bindAny = () => own.UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });

const isClass = (value: unknown) =>
  typeof value === "function" &&
  /^(class|function Socket)\b/.test(Function.prototype.toString.call(value));

test("copies of one release have the same ABI version: that of the package", () => {
  expect(ABI_VERSION).toBe(version);
});

describe("a second copy of the same version", () => {
  test("is another instance of the modules", () => {
    expect(second.recvmmsg).not.toBe(own.recvmmsg);
  });

  test.each(ENTRY_POINTS)("exports the classes of the first copy: %s", async (entry) => {
    const first = (await import(join("../..", entry))) as Record<string, unknown>;
    const again = (await import(copy.module(entry))) as Record<string, unknown>;
    const classes = Object.keys(first).filter((name) => isClass(first[name]));
    expect(classes.length).toBeGreaterThan(0);
    expect(classes.filter((name) => first[name] !== again[name])).toEqual([]);
  });

  test.each(["native", "portable"] as const)(
    "uses the objects of the first: %s",
    async (backend) => {
      await using receiver = await second.UdpSocket.bind({ hostname: "127.0.0.1", backend });
      await using sender = await second.UdpSocket.bind({ hostname: "127.0.0.1", backend });
      const { address, port } = receiver.localAddr;
      const to = own.SocketAddress.ip(address, port);

      await sender.sendTo(own.DgramBuffer.fromSlice(new Uint8Array([1, 2, 3])), to);
      const buffer = own.DgramBuffer.withCapacity(16);
      const meta = new own.RecvMeta();
      expect(await receiver.recvMany([buffer], { meta: [meta] })).toBe(1);
      expect([...buffer.asSlice()]).toEqual([1, 2, 3]);
      expect(meta.length).toBe(3);
      expect(meta.peer?.port).toBe(sender.localAddr.port);

      const out = new own.SendBatch().push(new Uint8Array([4, 5]), to);
      expect(await sender.sendBatch(out)).toBe(1);
      const received = new own.RecvBatch();
      await receiver.recvBatch(received);
      expect([...received.payload(0)]).toEqual([4, 5]);
    },
  );

  test("opens no descriptors but those of its sockets", async () => {
    await using _first = await bindAny();
    using fresh = new LibraryCopy();
    const { UdpSocket } = await fresh.load();
    const before = openDescriptors();
    await using _second = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
    expect(openDescriptors()).toBe(before + 1);
  });

  test("loaded in part, uses the reactor of the first, which was loaded in part", async () => {
    const args = [copy.path, join(import.meta.dir, "../..")];
    const child = await runScript("partial-copies.ts", { args });
    expect(JSON.parse(endedWell(child))).toEqual({ lengths: [3, 5], added: 2 });
  });

  test("has functions that use the objects and the symbols of the first", async () => {
    const sockets = await Promise.all([bindAny(), bindAny()]);
    const [to, peer] = sockets.map((socket) => socket.localAddr) as [
      own.SocketAddress,
      own.SocketAddress,
    ];
    const [fd, sender] = sockets.map((socket) => socket.intoFd()) as [number, number];
    try {
      const buffer = own.DgramBuffer.withCapacity(16);
      expect(second.recvmmsg(fd, [buffer])).toBe(own.WouldBlock);
      expect(second.sendmmsg(sender, [own.DgramBuffer.fromSlice(new Uint8Array(7))], to)).toBe(1);
      const meta = new own.RecvMeta();
      expect(second.recvmmsg(fd, [buffer], [meta])).toBe(1);
      expect([buffer.length, meta.peer?.port]).toEqual([7, peer.port]);
    } finally {
      closeSync(fd);
      closeSync(sender);
    }
  });

  test("has the errors of the first", async () => {
    const socket = await second.UdpSocket.bind({ hostname: "127.0.0.1" });
    socket.close();
    const error = await socket.recvFrom(new Uint8Array(1)).catch((reason) => reason);
    expect(error).toBeInstanceOf(own.SocketError);
    expect(own.isClosedError(error)).toBe(true);
  });
});

describe("a copy of another version", () => {
  test("has the same values for would-block and pending", () => {
    expect(other.WouldBlock).toBe(own.WouldBlock);
    expect(other.Pending).toBe(own.Pending);
  });

  test("has classes of its own, and its sockets work beside those of this version", async () => {
    expect(other.UdpSocket).not.toBe(own.UdpSocket as never);
    await using theirs = await other.UdpSocket.bind({ hostname: "127.0.0.1" });
    await using ours = await own.UdpSocket.bind({ hostname: "127.0.0.1" });
    const { address, port } = ours.localAddr;
    const bytes = new Uint8Array(16);
    for (let round = 0; round < 3; round++) {
      const waiting = ours.recvFrom(bytes);
      await theirs.sendTo(new Uint8Array([round]), other.SocketAddress.ip(address, port));
      const { peer } = await waiting;
      const reply = theirs.recvFrom(bytes);
      await ours.sendTo(new Uint8Array([round, round]), peer as own.SocketAddress);
      expect((await reply).length).toBe(2);
    }
  });

  test("has errors that pass the checks of this version, and the reverse", async () => {
    const socket = await other.UdpSocket.bind({ hostname: "127.0.0.1" });
    socket.close();
    const error = await socket.recvFrom(new Uint8Array(1)).catch((reason) => reason);
    expect(error).toBeInstanceOf(other.SocketError);
    expect(error).toBeInstanceOf(own.SocketError);
    expect(own.isClosedError(error)).toBe(true);
    const tooLong = new own.SocketError({ errno: 90, syscall: "sendmsg" });
    expect(tooLong).toBeInstanceOf(other.SocketError);
    expect(other.isMessageSizeError(tooLong)).toBe(true);
  });

  test("has objects that this version rejects, with a message that names the versions", async () => {
    await using socket = await own.UdpSocket.bind({ hostname: "127.0.0.1" });
    const rejected: [string, () => unknown][] = [
      ["DgramBuffer", () => socket.trySendTo(new other.DgramBuffer() as never, socket.localAddr)],
      ["RecvBatch", () => socket.tryRecvBatch(new other.RecvBatch() as never)],
      ["SendBatch", () => socket.trySendBatch(new other.SendBatch() as never)],
      ["RecvMeta", () => socket.tryRecvMany([new Uint8Array(1)], { meta: [new other.RecvMeta()] })],
    ];
    for (const [name, call] of rejected) {
      expect(call).toThrow(`an instance of ${name} of version 0.0.0-other of datagram-socket`);
    }
  });

  test("has addresses that this version reads as { address, port }", async () => {
    await using socket = await own.UdpSocket.bind({ hostname: "127.0.0.1" });
    const { address, port } = socket.localAddr;
    const to = other.SocketAddress.ip(address as string, port as number) as never;
    expect(socket.trySendTo("x", to)).toBe(1);
    expect(await socket.recv(new Uint8Array(4))).toBe(1);
  });
});

describe("an address of another version", () => {
  const ip = other.SocketAddress.ip("127.0.0.1", 9) as unknown as own.SocketAddress;

  test("equals the same address, and is its key in a map", () => {
    const same = own.SocketAddress.ip("127.0.0.1", 9);
    expect(same.equals(ip)).toBe(true);
    const map = new own.AddressMap<number>().set(ip, 1);
    expect([map.get(same), map.has(ip), map.delete(ip)]).toEqual([1, true, true]);
    const path = own.SocketAddress.unix("/run/x");
    expect(path.equals(other.SocketAddress.unix("/run/x") as never)).toBe(true);
    const name = own.SocketAddress.abstract("x");
    expect(name.equals(other.SocketAddress.abstract("x") as never)).toBe(true);
  });

  test("is a peer to connect to", async () => {
    await using socket = await own.UdpSocket.connect(ip);
    expect(`${socket.peerAddr}`).toBe("127.0.0.1:9");
    await using bound = await own.UdpSocket.bind({ connect: ip });
    expect(`${bound.peerAddr}`).toBe("127.0.0.1:9");
    const name = `two-copies-${process.pid}`;
    await using unix = await own.UnixDatagram.bind(own.SocketAddress.abstract(name));
    await using sender = await own.UnixDatagram.unbound();
    await sender.sendTo("x", other.SocketAddress.abstract(name) as never);
    expect(await unix.recv(new Uint8Array(9))).toBe(1);
  });
});

describe("SocketError", () => {
  test("instanceof is false for other errors, and for objects that claim the brand", () => {
    const brand = Symbol.for("datagram-socket.SocketError");
    const throwing = new Proxy(new Error(), {
      get() {
        throw new Error("get");
      },
    });
    const claims = { [brand]: true };
    const claiming = [claims, Object.create(claims), Object.assign(new Error(), claims)];
    const others = [undefined, null, 1, "text", new Error(), {}, throwing];
    for (const value of [...others, ...claiming]) {
      expect(value instanceof own.SocketError).toBe(false);
    }
  });

  test("instanceof a subclass is true only for instances of the subclass", () => {
    class Special extends own.SocketError {}
    const init = { errno: 1, syscall: "send" };
    expect(new Special(init)).toBeInstanceOf(Special);
    expect(new Special(init)).toBeInstanceOf(own.SocketError);
    expect(new own.SocketError(init)).not.toBeInstanceOf(Special);
    expect(new other.SocketError(init)).not.toBeInstanceOf(Special);
  });
});

describe("forged state on globalThis", () => {
  test.each(["none", "object", "null", "getter", "primitive", "frozen"])(
    "is not used: %s",
    async (state) => {
      expect(await runForged(state)).toBe("works");
    },
  );

  test.each(["values", "classes"])("with %s of another kind throws an exception", async (state) => {
    expect(await runForged(state)).toBe("TypeError");
  });
});

async function runForged(state: string): Promise<string> {
  return endedWell(await runScript("forged-state.ts", { args: [state] })).trim();
}
