/** The interface of `node:dgram`: events, callbacks, order, queues, lists, descriptors. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EventEmitter, once } from "node:events";
import { BlockList } from "node:net";
import { join } from "node:path";
import { inherits } from "node:util";
import {
  createSocket,
  type RemoteInfo,
  Socket,
  type SocketOptions,
} from "../../lib/dgram/index.ts";
import { UdpSocket } from "../../lib/index.ts";
import {
  BACKENDS,
  closedPort,
  HAS_IPV6,
  NO_HOST,
  openDescriptors,
  runCommand,
  thrown,
  until,
} from "../tools/sockets.ts";

const HOST = "127.0.0.1";
const testIPv6 = HAS_IPV6 ? test : test.skip;

/** Opens a socket on loopback that stores what it receives. */
async function receiver(options: SocketOptions = { type: "udp4" }) {
  const messages: [text: string, info: RemoteInfo][] = [];
  const socket = createSocket(options, (message, info) => messages.push([`${message}`, info]));
  socket.bind(0, options.type === "udp4" ? HOST : "::1");
  await once(socket, "listening");
  return { socket, messages, port: socket.address().port };
}

/** Returns the error that `call` passes to its callback. */
function failure(call: (done: (error: Error | null) => void) => void) {
  return new Promise<Error & Record<string, unknown>>((resolve) => call(resolve as never));
}

for (const backend of BACKENDS) {
  describe(`node:dgram, ${backend} backend`, () => {
    const { DATAGRAM_SOCKET_BACKEND: before } = process.env;
    beforeAll(() => {
      process.env.DATAGRAM_SOCKET_BACKEND = backend;
    });
    afterAll(() => {
      if (before === undefined) delete process.env.DATAGRAM_SOCKET_BACKEND;
      else process.env.DATAGRAM_SOCKET_BACKEND = before;
    });

    test("all forms of send deliver the datagram and call back with its length", async () => {
      const { socket, messages, port } = await receiver();
      const client = createSocket("udp4");
      const lengths: number[] = [];
      const sent = (error: Error | null, bytes: number) => {
        expect(error).toBeNull();
        lengths.push(bytes);
      };
      client.send("text", port, sent);
      client.send(Buffer.from("-slice-"), 1, 5, port, HOST, sent);
      client.send([Buffer.from("two "), "pieces"], port, "localhost", sent);
      client.send(new DataView(new TextEncoder().encode("a view").buffer, 2), port, HOST, sent);
      client.send(new Uint16Array([0x3131, 0x3232]), 1, 2, port, HOST, sent);
      client.send([], port, HOST, sent);
      await until(() => messages.length === 6 && lengths.length === 6);
      const texts = messages.map(([text]) => text).sort();
      expect(texts).toEqual(["", "12", "slice", "text", "two pieces", "view"]);
      expect(lengths.sort((a, b) => a - b)).toEqual([0, 2, 4, 4, 5, 10]);
      const { address, family, size } = (messages[0] as (typeof messages)[0])[1];
      expect([address, family, size]).toEqual([HOST, "IPv4", messages[0]?.[0].length as number]);
      client.close();
      socket.close();
    });

    test("a received message is a Buffer of its own, at offset 0", async () => {
      const kept: Buffer[] = [];
      const socket = createSocket("udp4", (message) => kept.push(message));
      socket.bind(0, HOST);
      await once(socket, "listening");
      const { port } = socket.address();
      for (let i = 0; i < 50; i++) socket.send(Buffer.alloc(100, i), port, HOST);
      await until(() => kept.length === 50);
      for (const [i, message] of kept.entries()) {
        expect(Buffer.isBuffer(message)).toBe(true);
        expect([message.byteOffset, message.buffer.byteLength, message.length]).toEqual([
          0, 100, 100,
        ]);
        expect(message.every((byte) => byte === i)).toBe(true);
      }
      socket.close();
    });

    test("a connected socket sends to its peer until it is disconnected", async () => {
      const { socket, messages, port } = await receiver();
      const client = createSocket("udp4");
      client.connect(port, HOST);
      await once(client, "connect");
      expect(client.remoteAddress()).toEqual({ address: HOST, family: "IPv4", port });
      const buffer = Buffer.from("1");
      for (const digit of "12345") {
        buffer.write(digit);
        client.send(buffer);
      }
      client.send("-6-", 1, 1);
      expect(thrown(() => client.send("x", 0, 1, port, HOST))).toMatchObject({
        code: "ERR_SOCKET_DGRAM_IS_CONNECTED",
      });
      await until(() => messages.length === 6);
      expect(messages.map(([text]) => text)).toEqual([..."123456"]);
      client.disconnect();
      expect(thrown(() => client.remoteAddress())).toMatchObject({
        code: "ERR_SOCKET_DGRAM_NOT_CONNECTED",
      });
      client.send("7", port, HOST);
      await until(() => messages.length === 7);
      client.close();
      socket.close();
    });

    test("an await between two datagrams loses none", async () => {
      const { socket, port } = await receiver();
      const client = createSocket("udp4");
      const received: string[] = [];
      const done = (async () => {
        while (received.length < 200) received.push(`${(await once(socket, "message"))[0]}`);
      })();
      for (let i = 0; i < 200; i++) client.send(`${i}`, port, HOST);
      await done;
      expect(received).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`));
      client.close();
      socket.close();
    });

    test("a listener that throws ends neither the socket nor the next messages", async () => {
      const program = `
        import { createSocket } from ${JSON.stringify(join(import.meta.dir, "../../lib/dgram/index.ts"))};
        process.on("uncaughtException", ({ message }) => console.log("uncaught", message));
        const socket = createSocket("udp4", (message) => {
          console.log("message", String(message));
          if (String(message) === "1") throw new Error("of the listener");
          if (String(message) === "2") socket.close();
        });
        socket.bind(0, "${HOST}", () => {
          for (const text of "012") socket.send(text, socket.address().port, "${HOST}");
        });
      `;
      const { stdout, stderr, exitCode } = await runCommand([process.execPath, "-e", program]);
      expect([exitCode, stderr]).toEqual([0, ""]);
      expect(stdout.trim().split("\n")).toEqual([
        "message 0",
        "message 1",
        "uncaught of the listener",
        "message 2",
      ]);
    });

    test("closing in a listener ends the messages; datagrams of the same tick are not sent", async () => {
      const { socket, messages, port } = await receiver();
      socket.on("message", () => socket.close());
      for (let i = 0; i < 20; i++) socket.send(`${i}`, port, HOST);
      await once(socket, "close");
      expect(messages.length).toBe(1);
      const other = await receiver();
      let calls = 0;
      other.socket.send("x", other.port, HOST, () => calls++);
      other.socket.close();
      await once(other.socket, "close");
      expect([calls, other.messages.length]).toEqual([0, 0]);
    });

    test("errors have the code, the system call and the address", async () => {
      const { socket, port } = await receiver();
      const second = createSocket("udp4");
      second.bind(port, HOST);
      const [refused] = await once(second, "error");
      expect(refused).toMatchObject({ code: "EADDRINUSE", errno: -98, syscall: "bind", port });
      expect(refused.message).toBe(`bind EADDRINUSE ${HOST}:${port}`);
      // It can be bound again after an error.
      second.bind(0, HOST);
      await once(second, "listening");
      const large = Buffer.alloc(70_000);
      const tooLong = await failure((done) => second.send(large, port, HOST, done));
      expect(tooLong).toMatchObject({ code: "EMSGSIZE", errno: -90, syscall: "send", port });
      expect(tooLong.message).toBe(`send EMSGSIZE ${HOST}:${port}`);
      const unknown = await failure((done) => second.send("x", port, NO_HOST, done));
      expect(unknown.syscall).toBe("getaddrinfo");
      second.send("x", port, NO_HOST);
      expect((await once(second, "error"))[0]).toMatchObject({ syscall: "getaddrinfo" });
      second.close();
      socket.close();
    });

    test("a closed port is reported to a connected socket only", async () => {
      const port = await closedPort();
      const client = createSocket("udp4");
      client.connect(port, HOST);
      await once(client, "connect");
      client.send("x");
      expect((await once(client, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
      client.close();
    });

    test("block lists", async () => {
      const blocked = new BlockList();
      blocked.addAddress(HOST);
      const { socket, messages, port } = await receiver({
        type: "udp4",
        receiveBlockList: blocked,
      });
      const client = createSocket({ type: "udp4", sendBlockList: blocked });
      const refused = {
        code: "ERR_IP_BLOCKED",
        message: `IP(${HOST}) is blocked by net.BlockList`,
      };
      expect(await failure((done) => client.send("x", port, HOST, done))).toMatchObject(refused);
      const connect = (done: () => void) => client.connect(port, HOST, done);
      expect(await failure(connect as never)).toMatchObject(refused);
      expect(
        thrown(() => createSocket({ type: "udp4", sendBlockList: {} as never })),
      ).toMatchObject({
        code: "ERR_INVALID_ARG_TYPE",
      });
      // The list is read for each datagram.
      const { check } = blocked;
      const checked: unknown[] = [];
      blocked.check = (...args: [never]) => {
        return checked.push(args) === 1 && check.apply(blocked, args);
      };
      const allowed = createSocket("udp4");
      allowed.send("x", port, HOST);
      allowed.send("y", port, HOST);
      await until(() => messages.length === 1);
      expect(messages[0]?.[0]).toBe("y");
      expect(checked).toEqual([
        [HOST, "ipv4"],
        [HOST, "ipv4"],
      ]);
      for (const each of [socket, client, allowed]) each.close();
    });

    test("lookup resolves the names of bind, connect and send", async () => {
      const asked: string[] = [];
      const lookup = (host: string, _: unknown, done: (e: null, a: string, f: number) => void) => {
        asked.push(host);
        process.nextTick(done, null, HOST, 4);
      };
      const { socket, messages, port } = await receiver();
      const client = createSocket({ type: "udp4", lookup });
      client.bind(0, "here");
      await once(client, "listening");
      client.send("1", port, "there");
      await until(() => messages.length === 1);
      client.connect(port, "peer");
      await once(client, "connect");
      expect(asked).toEqual(["here", "there", "peer"]);
      client.close();
      socket.close();
    });

    test("a signal closes the socket; disposal waits for the end", async () => {
      const controller = new AbortController();
      const { socket } = await receiver({ type: "udp4", signal: controller.signal });
      const closed = once(socket, "close");
      controller.abort();
      await closed;
      const other = createSocket("udp4");
      let isClosed = false;
      other.on("close", () => {
        isClosed = true;
      });
      await other[Symbol.asyncDispose]();
      expect(isClosed).toBe(true);
      await other[Symbol.asyncDispose]();
      expect(thrown(() => other.address())).toMatchObject({ code: "ERR_SOCKET_DGRAM_NOT_RUNNING" });
    });

    test("options of the socket", async () => {
      const { socket } = await receiver({
        type: "udp4",
        recvBufferSize: 8192,
        sendBufferSize: 8192,
      });
      expect([socket.getRecvBufferSize(), socket.getSendBufferSize()]).toEqual([16_384, 16_384]);
      socket.setRecvBufferSize(10_000);
      expect(socket.getRecvBufferSize()).toBe(20_000);
      expect([socket.setTTL(9), socket.setMulticastTTL(3)]).toEqual([9, 3]);
      expect(socket.setMulticastLoopback(true)).toBe(true);
      socket.setBroadcast(true);
      socket.setMulticastInterface(HOST);
      socket.addMembership("224.0.0.114", HOST);
      expect(thrown(() => socket.addMembership("224.0.0.114", HOST))).toMatchObject({
        code: "EADDRINUSE",
        syscall: "addMembership",
      });
      socket.dropMembership("224.0.0.114", HOST);
      socket.addSourceSpecificMembership(HOST, "232.1.1.1", HOST);
      socket.dropSourceSpecificMembership(HOST, "232.1.1.1", HOST);
      expect([socket.getSendQueueSize(), socket.getSendQueueCount()]).toEqual([0, 0]);
      expect(thrown(() => socket.setTTL(256))).toMatchObject({ code: "EINVAL", syscall: "setTTL" });
      socket.close();
    });

    testIPv6("IPv6", async () => {
      const { socket, messages, port } = await receiver({ type: "udp6" });
      const client = createSocket("udp6");
      client.send("six", port);
      await until(() => messages.length === 1);
      expect(messages[0]?.[1]).toMatchObject({ address: "::1", family: "IPv6" });
      expect(await failure((done) => client.send("x", port, HOST, done))).toBeInstanceOf(Error);
      client.close();
      socket.close();
    });

    test("adopts a descriptor", async () => {
      const bound = await UdpSocket.bind({ hostname: HOST, backend: "native", offload: false });
      const { port } = bound.localAddr;
      const fd = bound.intoFd() as number;
      const socket = createSocket("udp4");
      const listening = once(socket, "listening");
      socket.bind({ fd });
      await listening;
      expect(socket.address().port).toBe(port);
      socket.send("x", port, HOST);
      expect(`${(await once(socket, "message"))[0]}`).toBe("x");
      socket.close();
    });

    test("sockets leave no descriptor behind, whenever they are closed", async () => {
      const { socket } = await receiver();
      socket.close();
      await once(socket, "close");
      const count = openDescriptors();
      const closes: Promise<unknown>[] = [];
      for (let i = 0; i < 10; i++) {
        const each = createSocket("udp4");
        closes.push(once(each, "close"));
        if (i % 3 === 1) each.bind(0, HOST);
        if (i % 3 === 2) each.bind(0, HOST, () => each.close());
        else each.close();
      }
      await Promise.all(closes);
      await until(() => openDescriptors() <= count);
    });
  });
}

describe("node:dgram", () => {
  test("Socket can be called, constructed and extended", () => {
    class Extended extends Socket {
      readonly isExtended = true;
      constructor() {
        // @ts-expect-error: the types of Node have no constructor.
        super("udp4");
      }
    }
    function Old(this: unknown): void {
      (Socket as unknown as (this: unknown, type: string) => void).call(this, "udp4");
    }
    inherits(Old, Socket);
    const sockets = [new Extended(), Reflect.construct(Old, []) as Socket];
    sockets.push(Reflect.construct(createSocket, ["udp4"]) as Socket);
    for (const socket of sockets) {
      expect(socket).toBeInstanceOf(Socket);
      expect(socket).toBeInstanceOf(EventEmitter);
      expect(thrown(() => socket.address())).toMatchObject({ code: "EBADF" });
      socket.close();
    }
    expect(sockets[0]).toHaveProperty("isExtended", true);
    expect([Socket.name, createSocket.name]).toEqual(["Socket", "createSocket"]);
  });

  test("bindSync and connectSync take effect at once, and emit their events in the next tick", async () => {
    const socket = createSocket("udp4");
    const { port } = socket.bindSync({ address: HOST });
    expect(socket.address()).toEqual({ address: HOST, family: "IPv4", port });
    const client = createSocket("udp4");
    client.connectSync(port);
    expect(client.remoteAddress().port).toBe(port);
    client.send("x");
    await Promise.all([
      once(socket, "listening"),
      once(client, "connect"),
      once(socket, "message"),
    ]);
    const other = createSocket("udp4");
    expect(thrown(() => other.bindSync({ address: HOST, port }))).toMatchObject({
      code: "EADDRINUSE",
      syscall: "bind",
      address: HOST,
      port,
    });
    expect(thrown(() => other.bindSync({ address: "localhost" }))).toBeInstanceOf(TypeError);
    expect(thrown(() => client.connectSync(port))).toMatchObject({
      code: "ERR_SOCKET_DGRAM_IS_CONNECTED",
    });
    for (const each of [socket, client, other]) each.close();
  });

  test("a membership binds the socket", async () => {
    const socket = createSocket("udp4");
    socket.addMembership("224.0.0.114", HOST);
    socket.bind(0, () => socket.emit("ready"));
    await once(socket, "ready");
    socket.close();
  });

  test("many datagrams of one tick arrive in order and complete, also those of several ticks", async () => {
    const { socket, messages, port } = await receiver();
    const client = createSocket("udp4");
    const completed: number[] = [];
    for (let i = 0; i < 64; i++) client.send(`${i}`, port, HOST, () => completed.push(i));
    await until(() => messages.length === 64 && completed.length === 64);
    client.connect(port, HOST);
    await once(client, "connect");
    for (let i = 64; i < 128; i++) client.send(`${i}`, () => completed.push(i));
    expect(client.getSendQueueCount()).toBeLessThan(64);
    await until(() => messages.length === 128 && completed.length === 128);
    const expected = Array.from({ length: 128 }, (_, i) => i);
    expect(messages.map(([text]) => Number(text))).toEqual(expected);
    expect(completed).toEqual(expected);
    client.close();
    socket.close();
  });
});
