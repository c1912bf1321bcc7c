/**
 * README.md: its length, its images, and its programs, which run from the packed package with real
 * peers. The programs are unchanged but for the constants in `Constants`.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DgramBuffer, SocketAddress, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { missing, testIf } from "../ffi/tools.ts";
import { closedPort } from "../tools/sockets.ts";
import { fileNameOf, type Program, programsOf, read } from "./code-blocks.ts";
import { installPackage } from "./packed.ts";

const WORDS_MAX = 1500;
const PACK_TIMEOUT_MS = 120_000;

/** Constants of a program, and what to replace them by. Each must occur exactly once. */
type Constants = Readonly<Record<string, string | number>>;

const readme = read("README.md");
const programs = new Map(programsOf("README.md").map((program) => [program.name, program]));
const project = mkdtempSync(join(tmpdir(), "datagram-socket-readme-"));
const withoutNpm = missing("npm");
const testWithNpm = testIf(withoutNpm);

beforeAll(() => {
  if (withoutNpm === undefined) installPackage(project);
}, PACK_TIMEOUT_MS);
afterAll(() => rmSync(project, { recursive: true, force: true }));

/** A program that runs. It is killed at the end of the scope. */
class Running implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "pipe">;

  constructor(path: string, env: Readonly<Record<string, string>>) {
    this.#process = Bun.spawn([process.execPath, path], {
      cwd: project,
      env: { ...process.env, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  }

  /** Waits for the end of the program, which must succeed, and returns what it printed. */
  async output(): Promise<string> {
    const [code, stderr] = [await this.#process.exited, await this.#process.stderr.text()];
    expect([code, stderr]).toEqual([0, ""]);
    return await this.#process.stdout.text();
  }

  /** Sends SIGTERM, and waits for the end of the program, which must succeed. */
  async stop(): Promise<void> {
    this.#process.kill("SIGTERM");
    expect(await this.output()).toBe("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

const executed = new Set<string>();

/** Starts a program of the README. */
function start(name: string, constants: Constants = {}, env = {}): Running {
  const program = programs.get(name) as Program;
  executed.add(name);
  let { code } = program;
  for (const [constant, value] of Object.entries(constants)) {
    expect([name, constant, code.split(constant).length - 1]).toEqual([name, constant, 1]);
    code = code.replace(constant, `${value}`);
  }
  const path = join(project, `${fileNameOf(program)}.ts`);
  writeFileSync(path, code);
  return new Running(path, env);
}

/** Sends `payload` until a reply arrives, because the server may not have started, and returns it. */
async function exchange(port: number, payload: string): Promise<string> {
  await using socket = await UdpSocket.connect({ hostname: "127.0.0.1", port });
  socket.onTransportError(() => {});
  const reply = Buffer.alloc(1500);
  for (;;) {
    await socket.send(Buffer.from(payload));
    const signal = AbortSignal.timeout(50);
    const length = await socket.recv(reply, { signal }).catch(() => undefined);
    if (length !== undefined) return reply.toString("utf8", 0, length);
  }
}

/** Opens a server that sends every datagram back, and calls `onDatagram` with its text. */
async function echoServer(onDatagram: (text: string) => void = () => {}): Promise<UdpSocket> {
  const server = await UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
  const serve = async () => {
    for await (const { buffers, meta, length } of server.batches()) {
      for (let i = 0; i < length; i++) {
        onDatagram(Buffer.from(buffers[i]?.asSlice() ?? []).toString());
        await server.sendTo(buffers[i] as DgramBuffer, meta[i]?.peer as SocketAddress);
      }
    }
  };
  void serve();
  return server;
}

/** Receives the text of one datagram. */
async function receiveText(socket: UdpSocket | UnixDatagram): Promise<string> {
  const buffer = Buffer.alloc(1500);
  const length = await socket.recv(buffer, { signal: AbortSignal.timeout(10_000) });
  return buffer.toString("latin1", 0, length);
}

describe("README.md", () => {
  test(`has at most ${WORDS_MAX} words, without code, comments and the targets of links`, () => {
    const prose = readme
      .replace(/^```[\s\S]*?^```$/gm, "")
      .replace(/<!--[\s\S]*?-->/g, "")
      .replace(/\]\([^)]*\)/g, "]");
    const words = prose.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
    expect(words.length).toBeGreaterThan(500);
    expect(words.length).toBeLessThanOrEqual(WORDS_MAX);
  });

  test("has images with absolute URLs, which npm can show", () => {
    const images = [...readme.matchAll(/!\[[^\]]*\]\(([^)]*)\)/g)].map(([, target]) => target);
    expect(images.length).toBeGreaterThan(0);
    for (const image of images) expect(image).toStartWith("https://");
  });
});

describe("the programs of README.md", () => {
  testWithNpm("datagram-socket: replies, and ends without an error after SIGTERM", async () => {
    const port = await closedPort();
    await using server = start("datagram-socket", { 5300: port });
    expect(await exchange(port, "hello")).toBe("hello");
    await server.stop();
  });

  testWithNpm("the request prints the reply", async () => {
    await using server = await echoServer();
    await using client = start("datagram-socket 2", { 5300: server.localAddr.port });
    expect(await client.output()).toBe("hello\n");
  });

  testWithNpm("Echo: replies to clients", async () => {
    const port = await closedPort();
    await using _server = start("Echo", { 5300: port });
    const payloads = ["one", "two", "three"];
    expect(await Promise.all(payloads.map((text) => exchange(port, text)))).toEqual(payloads);
  });

  testWithNpm("Request with retries: repeats a request that is lost", async () => {
    await using server = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await using client = start("Request with retries", { 5300: server.localAddr.port });
    await receiveText(server);
    const buffer = Buffer.alloc(100);
    const { peer, length } = await server.recvFrom(buffer);
    await server.sendTo(buffer.subarray(0, length), peer as SocketAddress);
    expect(await client.output()).toBe("request\n");
  });

  testIf(withoutNpm ?? missing("dnsmasq"))(
    "DNS query: prints the address from the server",
    async () => {
      const port = await closedPort();
      const options = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
      ];
      const address = ["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="];
      const names = ["--address=/example.com/192.0.2.7"];
      const dnsmasq = ["dnsmasq", ...options, ...address, ...names, `--port=${port}`];
      const server = Bun.spawn(dnsmasq, { stderr: "ignore" });
      try {
        // Any reply: the server is ready.
        await exchange(port, "\0\0\0\0\0\0\0\0\0\0\0\0");
        await using client = start("DNS query", {
          'hostname: "1.1.1.1"': 'hostname: "127.0.0.1"',
          "port: 53": `port: ${port}`,
        });
        expect(await client.output()).toBe("192.0.2.7\n");
      } finally {
        server.kill();
        await server.exited;
      }
    },
  );

  testWithNpm("statsd: sends two metrics", async () => {
    await using server = await UdpSocket.bind({ hostname: "127.0.0.1" });
    await using client = start("statsd", { 8125: server.localAddr.port });
    expect(await receiveText(server)).toBe("requests:1|c");
    expect(await receiveText(server)).toBe("latency:12|ms");
    expect(await client.output()).toBe("2 {}\n");
  });

  testWithNpm("syslog: sends a line to the socket", async () => {
    const path = join(project, "log");
    await using server = await UnixDatagram.bind(path);
    await using client = start("syslog", { "/dev/log": path });
    expect(await receiveText(server)).toMatch(/^<14>my-server\[\d+\]: started$/);
    expect(await client.output()).toBe("");
  });

  testWithNpm.each([
    ["a path", false],
    ["an abstract name", true],
  ])("sd_notify: reports to %s", async (_, isAbstract) => {
    const name = `datagram-socket-readme-${process.pid}`;
    const path = isAbstract ? SocketAddress.abstract(name) : join(project, "notify");
    await using manager = await UnixDatagram.bind(path);
    const environment = { NOTIFY_SOCKET: typeof path === "string" ? path : `@${name}` };
    await using service = start("sd_notify", {}, environment);
    expect(await receiveText(manager)).toBe("READY=1");
    expect(await service.output()).toBe("");
  });

  testWithNpm("sd_notify: does nothing without a service manager", async () => {
    await using service = start("sd_notify", {}, { NOTIFY_SOCKET: undefined });
    expect(await service.output()).toBe("");
  });

  testWithNpm("Multicast discovery: the search finds the service", async () => {
    const port = await closedPort();
    await using _service = start("Multicast discovery", { 5302: port });
    // The search sends one datagram, so the service must have joined the group before.
    await using probe = await UdpSocket.bind();
    probe.setMulticastInterface("lo");
    const timer = setInterval(() => {
      probe.trySendTo(Buffer.from("search"), SocketAddress.ip("239.255.1.1", port));
    }, 20);
    expect(await receiveText(probe)).toBe("printer");
    clearInterval(timer);
    await using search = start("Multicast discovery 2", { 5302: port });
    expect(await search.output()).toMatch(new RegExp(`^\\S+:${port}: printer\\n$`));
  });

  testWithNpm("Broadcast: sends to all sockets of the network with the port", async () => {
    await using receiver = await UdpSocket.bind({ hostname: "0.0.0.0" });
    await using sender = start("Broadcast", { 5303: receiver.localAddr.port });
    expect(await receiveText(receiver)).toBe("hello");
    expect(await sender.output()).toBe("");
  });

  testWithNpm("Forwarder: returns to each client the replies to its requests", async () => {
    const requests = new Set<string>();
    await using server = await echoServer((text) => requests.add(text));
    const port = await closedPort();
    await using _forwarder = start("Forwarder", { 5300: server.localAddr.port, 5304: port });
    const payloads = ["one", "two", "three"];
    expect(await Promise.all(payloads.map((text) => exchange(port, text)))).toEqual(payloads);
    expect([...requests].sort()).toEqual([...payloads].sort());
  });

  testWithNpm("Batches with headroom: relays datagrams after a flow ID", async () => {
    await using server = await UdpSocket.bind({ hostname: "127.0.0.1" });
    const port = await closedPort();
    const constants = { 5300: server.localAddr.port, 5301: port };
    await using _relay = start("Batches with headroom", constants);
    await using client = await UdpSocket.connect({ hostname: "127.0.0.1", port });
    client.onTransportError(() => {});
    const received = receiveText(server);
    const timer = setInterval(() => client.trySend(Buffer.from("payload")), 20);
    expect(await received).toBe("*payload"); // "*" is 42
    clearInterval(timer);
  });

  testWithNpm("are all executed by this file", () => {
    const skipped = missing("dnsmasq") === undefined ? [] : ["DNS query"];
    expect([...executed, ...skipped].sort()).toEqual([...programs.keys()].sort());
  });
});
