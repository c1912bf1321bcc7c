/** The interface of the npm package `unix-dgram`: calls, events, errors, and `require`. */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSocket, type MessageInfo, Socket } from "../../lib/unix-dgram/index.ts";
import { openDescriptors, runCommand, thrown, until } from "../tools/sockets.ts";

const directory = mkdtempSync(join(tmpdir(), "datagram-socket-test-"));
afterAll(() => rmSync(directory, { recursive: true }));
let names = 0;
const freshPath = () => join(directory, `${names++}.sock`);

/** Opens a socket that stores what it receives. */
function receiver(path: string) {
  const messages: [string, MessageInfo][] = [];
  const socket = createSocket("unix_dgram", (message, info) => {
    expect(Buffer.isBuffer(message)).toBe(true);
    messages.push([message.toString(), info]);
  });
  socket.bind(path);
  return { socket, messages };
}

/** Sends numbered datagrams until the queue of the peer is full, and returns their number. */
function fill(client: Socket): number {
  for (let sent = 0; ; sent++) {
    let failure: { code: number; message: string } | undefined;
    client.send(Buffer.from(`${sent}`), (error) => {
      failure = error;
    });
    if (failure === undefined) continue;
    expect([failure.code, failure.message]).toEqual([1, "congestion"]);
    return sent;
  }
}

describe("unix-dgram", () => {
  test("an unconnected socket sends to a path; events and callbacks are synchronous", async () => {
    const path = freshPath();
    const events: string[] = [];
    const server = createSocket("unix_dgram", (message, info) => {
      events.push(`${message} of ${info.size} from ${info.path}`);
    });
    server.on("listening", () => events.push("listening"));
    server.bind(path);
    const client = createSocket("unix_dgram");
    client.send(Buffer.from("-PING-"), 1, 4, path, (...args) => events.push(`sent ${args}`));
    expect(events).toEqual(["listening", "sent "]);
    await until(() => events.length === 3);
    const clientPath = freshPath();
    client.bind(clientPath);
    client.sendto(new Uint8Array(0), 0, 0, path);
    await until(() => events.length === 4);
    expect(events.slice(2)).toEqual(["PING of 4 from null", ` of 0 from ${clientPath}`]);
    server.close();
    client.close();
    expect(existsSync(path)).toBe(true);
  });

  test("a connected socket sends to its peer, also by an abstract name", async () => {
    const name = `\0datagram-socket-test-${process.pid}-${names++}`;
    const { socket, messages } = receiver(name);
    const client = new Socket("unix_dgram");
    let connects = 0;
    client.on("connect", () => connects++);
    client.connect(name);
    expect([connects, client.connected]).toEqual([1, true]);
    client.send(Buffer.from("one"));
    client.send(Buffer.from("-two-"), 1, 3, "/nowhere");
    await until(() => messages.length === 2);
    expect(messages.map(([text]) => text)).toEqual(["one", "two"]);
    socket.close();
    client.close();
  });

  test("a full queue is reported to the callback or by congestion, and its end by writable", async () => {
    const { socket, messages } = receiver(freshPath());
    const client = createSocket("unix_dgram");
    const path = join(directory, `${names - 1}.sock`);
    client.connect(path);
    let writables = 0;
    client.on("writable", () => writables++);
    // The first time, the sockets may not be registered for readiness yet.
    for (let round = 1; round <= 3; round++) {
      messages.length = 0;
      const sent = fill(client);
      expect(sent).toBeGreaterThan(0);
      const refused = Buffer.from("refused");
      const congested: unknown[] = [];
      client.once("congestion", (message) => congested.push(message));
      client.send(refused);
      expect(congested).toEqual([refused]);
      await until(() => messages.length === sent && writables === round);
      expect(messages.map(([text]) => Number(text))).toEqual(
        Array.from({ length: sent }, (_, i) => i),
      );
    }
    const stranger = createSocket("unix_dgram");
    fill(client);
    let code: number | undefined;
    stranger.send(Buffer.from("x"), 0, 1, path, (error) => {
      code = error?.code;
    });
    expect(code).toBe(-11);
    for (const one of [socket, client, stranger]) one.close();
  });

  test("errors go to the callback, or else to the listeners of error", () => {
    const client = createSocket("unix_dgram");
    const nowhere = freshPath();
    const errors: object[] = [];
    const record = ({ code, errno, syscall, message }: Error & Record<string, unknown>) =>
      errors.push({ code, errno, syscall, message });
    client.send(Buffer.from("x"), 0, 1, nowhere, (error) => record(error as never));
    expect(thrown(() => client.send(Buffer.from("x"), 0, 1, nowhere))).toMatchObject({ code: -2 });
    client.on("error", record as never);
    client.send(Buffer.from("x"), 0, 1, nowhere);
    client.connect(nowhere);
    client.bind(join(directory, "missing", "path"));
    client.send(Buffer.from("x"), (error) => record(error as never));
    client.close();
    client.close();
    client.send(Buffer.from("x"), 0, 1, nowhere);
    const failure = (syscall: string, code: number) => {
      return { code, errno: code, syscall, message: `${syscall} ${code}` };
    };
    expect(errors).toEqual([
      failure("send", -2),
      failure("send", -2),
      failure("connect", -2),
      failure("bind", -2),
      failure("send", -107),
      failure("send", -9),
    ]);
    expect(client.fd).toBe(-1);
  });

  test("misuse throws", () => {
    expect(thrown(() => createSocket("unix_stream" as "unix_dgram"))).toBeInstanceOf(Error);
    const client = createSocket("unix_dgram");
    expect(thrown(() => client.send("text" as never))).toBeInstanceOf(TypeError);
    expect(thrown(() => client.bind(1 as never))).toBeInstanceOf(TypeError);
    for (const [offset, length] of [
      [0, 4],
      [4, 0],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [3, 1],
    ]) {
      const send = () => client.send(new Uint8Array(3), offset as number, length as number, "/x");
      expect(thrown(send)).toBeInstanceOf(RangeError);
    }
    client.close();
  });

  test("a socket with type udp4 is one of node:dgram", () => {
    const socket = createSocket("udp4");
    expect(typeof socket.setBroadcast).toBe("function");
    socket.close();
  });

  test("a listener that closes the socket ends its messages, and no descriptor stays open", async () => {
    const before = openDescriptors();
    const path = freshPath();
    const received: string[] = [];
    const server = createSocket("unix_dgram", (message) => {
      received.push(`${message}`);
      if (received.length === 2) server.close();
    });
    server.bind(path);
    const client = createSocket("unix_dgram");
    for (let i = 0; i < 3; i++) client.send(Buffer.from(`${i}`), 0, 1, path);
    await until(() => server.fd === -1);
    client.close();
    // Sockets that are closed before they are registered for readiness.
    for (let i = 0; i < 10; i++) createSocket("unix_dgram").close();
    await until(() => openDescriptors() <= before);
    expect(received).toEqual(["0", "1"]);
  });

  test("the largest datagram of the default send buffer is received whole", async () => {
    const { socket, messages } = receiver(freshPath());
    const bytes = 200_000;
    const client = createSocket("unix_dgram");
    client.send(Buffer.alloc(bytes, "x"), 0, bytes, join(directory, `${names - 1}.sock`));
    await until(() => messages.length === 1);
    expect(messages[0]?.[0]).toBe("x".repeat(bytes));
    expect(messages[0]?.[1].size).toBe(bytes);
    socket.close();
    client.close();
  });

  test("a process runs until its sockets are closed", async () => {
    const program = `
      const { createSocket } = require("datagram-socket");
      const server = createSocket("unix_dgram", (message) => {
        console.log(String(message));
        server.close();
      });
      server.bind(process.argv[1]);
      const client = createSocket("unix_dgram");
      client.send(Buffer.from("hello"), 0, 5, process.argv[1], () => client.close());
    `;
    const { exitCode, stdout, stderr } = await runCommand([
      process.execPath,
      "-e",
      program,
      freshPath(),
    ]);
    expect([exitCode, stdout, stderr]).toEqual([0, "hello\n", ""]);
  });

  test("require of the package has createSocket and all exports of import", async () => {
    const required = createRequire(import.meta.url)("datagram-socket");
    const imported = await import("../../lib/index.ts");
    const { createSocket: _, Socket: ___, ...others } = required;
    expect(required.createSocket).toBe(createSocket);
    expect(Object.keys(others).sort()).toEqual(Object.keys(imported).sort());
    expect(required.UdpSocket).toBe(imported.UdpSocket);
  });
});
