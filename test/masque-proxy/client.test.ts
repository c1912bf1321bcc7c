/** The client: tunnels of local peers, lost connections, several addresses, refusals. */

import { describe, expect, test } from "bun:test";
import { dropsTotal } from "../../examples/masque/counters.ts";
import { checkQuiche } from "../../examples/masque/demo/checks.ts";
import { decodeStatus, encodeFields } from "../../examples/masque/quiche-client/qpack.ts";
import { installQuiche } from "../../examples/quiche/install.ts";
import {
  ANY_PORT,
  ask,
  identity,
  openClient,
  openPeer,
  skipReason,
  startEcho,
  TestProxy,
  until,
} from "./endpoints.ts";

/** Starts an echo server, a proxy and a client. */
async function start(
  clientOptions: Parameters<typeof openClient>[2] = {},
  proxyOptions: Parameters<typeof TestProxy.start>[0] = {},
) {
  const stack = new AsyncDisposableStack();
  const echo = stack.use(await startEcho());
  const proxy = stack.use(await TestProxy.start(proxyOptions));
  const client = stack.use(await openClient(proxy.server.port, echo.localAddr.port, clientOptions));
  return { echo, proxy, client, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe.skipIf(skipReason !== undefined)("the client", () => {
  for (const usesCapsules of [false, true]) {
    const name = usesCapsules ? "capsules" : "DATAGRAM frames";
    test(`forwards with ${name}, a tunnel for each peer`, async () => {
      await using t = await start({ usesCapsules });
      await t.client.connected;
      using first = await openPeer(t.client);
      using second = await openPeer(t.client);
      expect(await ask(first, "first")).toBe("first");
      expect(await ask(second, "second")).toBe("second");
      expect(await ask(first, "x".repeat(1148))).toBe("x".repeat(1148));
      expect([t.client.tunnels, t.proxy.server.tunnels]).toEqual([2, 2]);
      expect(dropsTotal(t.client.counters)).toBe(0);
    });
  }

  test("passes payloads of 60,000 bytes with capsules only", async () => {
    const text = "x".repeat(60_000);
    await using capsules = await start({ usesCapsules: true });
    await capsules.client.connected;
    using peer = await openPeer(capsules.client);
    expect(await ask(peer, text)).toBe(text);
    await using frames = await start();
    await frames.client.connected;
    using other = await openPeer(frames.client);
    expect(await ask(other, "small")).toBe("small");
    await other.send(text);
    await until(() => frames.client.counters.drops.oversize === 1, "the drop");
  });

  test("sends what arrives before the response, in order", async () => {
    await using t = await start({ usesCapsules: true });
    await t.client.connected;
    using peer = await openPeer(t.client);
    await peer.sendMany(["0", "1", "2", "3"]);
    const replies: string[] = [];
    const reply = Buffer.alloc(10);
    while (replies.length < 4) replies.push(reply.toString("utf8", 0, await peer.recv(reply)));
    expect(replies).toEqual(["0", "1", "2", "3"]);
  });

  test("reconnects after the connection is lost, and serves the same peer", async () => {
    await using t = await start();
    await t.client.connected;
    using peer = await openPeer(t.client);
    expect(await ask(peer, "before")).toBe("before");
    const { port } = t.proxy.server;
    await t.proxy.server.close();
    await until(() => t.client.tunnels === 0, "the tunnel is gone");
    await using _again = await TestProxy.start({ listen: { hostname: "127.0.0.1", port } });
    await t.client.connected;
    expect(await ask(peer, "after")).toBe("after");
    expect(t.client.counters.connections).toBe(2);
    expect(t.client.counters.opened).toBe(2);
  });

  test("started before the proxy, connects when the proxy has started", async () => {
    await using first = await TestProxy.start();
    const { port } = first.server;
    await first.server.close();
    using echo = await startEcho();
    const problems: string[] = [];
    const onProblem = (message: string) => problems.push(message);
    const ca = identity.certificate;
    await using client = await openClient(port, echo.localAddr.port, { ca, onProblem });
    await using _proxy = await TestProxy.start({ listen: { hostname: "127.0.0.1", port } });
    await client.connected;
    using peer = await openPeer(client);
    expect(await ask(peer, "hello")).toBe("hello");
  });

  test("tries all addresses of the proxy", async () => {
    await using t = await start();
    using echo = await startEcho();
    // At the first ones, no proxy listens.
    const lookup = async () => ["127.0.0.77", "127.0.0.78", "127.0.0.1"];
    const { port } = t.proxy.server;
    await using client = await openClient(port, echo.localAddr.port, { lookup });
    await client.connected;
    using peer = await openPeer(client);
    expect(await ask(peer, "hello")).toBe("hello");
  });

  test("verifies the address or the name of the proxy in its certificate", async () => {
    const problem = Promise.withResolvers<string>();
    await using t = await start();
    const { port } = t.proxy.server;
    const template = (host: string) =>
      `https://${host}:${port}/.well-known/masque/udp/{target_host}/{target_port}/`;
    const target = t.echo.localAddr.port;
    await using right = await openClient(port, target, { template: template("127.0.0.1") });
    await right.connected;
    // The certificate is for localhost and 127.0.0.1 only.
    const lookup = async () => ["127.0.0.1"];
    const { makeIdentity } = await import("../../examples/quiche/tls.ts");
    const unknown = Promise.withResolvers<string>();
    await using _other = await openClient(port, target, {
      template: template("127.0.0.1"),
      ca: makeIdentity().certificate,
      onProblem: unknown.resolve,
    });
    expect(await unknown.promise).toContain("self signed certificate");
    await using wrong = await openClient(port, target, {
      template: template("other.test"),
      lookup,
      onProblem: problem.resolve,
    });
    expect(await problem.promise).toStartWith("cannot connect to other.test");
    expect(wrong.counters.connections).toBe(0);
  });

  test("refuses a proxy whose certificate has another address", async () => {
    const problem = Promise.withResolvers<string>();
    await using proxy = await TestProxy.start({ listen: { hostname: "127.0.0.2", port: 0 } });
    const { port } = proxy.server;
    await using client = await openClient(port, 9, {
      template: `https://127.0.0.2:${port}/{target_host}/{target_port}/`,
      onProblem: problem.resolve,
    });
    expect(await problem.promise).toContain("the certificate is not for 127.0.0.2");
    expect(client.counters.connections).toBe(0);
  });

  test("tries again if the name of the proxy cannot be resolved at first", async () => {
    let lookups = 0;
    const lookup = async () => {
      if (++lookups === 1) throw new Error("no such name");
      return ["127.0.0.1"];
    };
    const problems: string[] = [];
    await using t = await start({ lookup, onProblem: (message) => problems.push(message) });
    await t.client.connected;
    expect(problems).toEqual(["cannot connect to localhost: no such name"]);
  });

  test("does not connect to a proxy with an unknown certificate", async () => {
    const problem = Promise.withResolvers<string>();
    await using t = await start({
      ca: (await import("../../examples/quiche/tls.ts")).makeIdentity().certificate,
      onProblem: problem.resolve,
    });
    expect(await problem.promise).toStartWith("cannot connect to localhost");
    expect(t.client.counters.connections).toBe(0);
  });

  test("reports a refused request, and does not repeat it for each datagram", async () => {
    const problems: string[] = [];
    const onProblem = (message: string) => problems.push(message);
    await using t = await start({ token: "wrong", onProblem }, { tokens: ["right"] });
    await t.client.connected;
    using peer = await openPeer(t.client);
    await peer.send("0");
    await until(() => problems.length === 1, "the refusal");
    for (let i = 0; i < 20; i++) await peer.send("x");
    await until(() => t.client.counters.drops.failed === 21, "all drops");
    expect(problems[0]).toStartWith("request refused: 401 datagram-socket-masque");
    expect(t.proxy.counters.refusals).toEqual({ 401: 1 });
  });

  test("sends its token", async () => {
    await using t = await start({ token: "right" }, { tokens: ["right"] });
    await t.client.connected;
    using peer = await openPeer(t.client);
    expect(await ask(peer, "hello")).toBe("hello");
  });

  test("refuses peers beyond its limit", async () => {
    await using t = await start({ peersMax: 1 });
    await t.client.connected;
    using first = await openPeer(t.client);
    using second = await openPeer(t.client);
    expect(await ask(first, "hello")).toBe("hello");
    await second.send("hello");
    await until(() => t.client.counters.drops.refused === 1, "the drop");
  });

  test("closes the tunnels of idle peers, and opens them again", async () => {
    await using t = await start({ idleTimeoutMs: 150 });
    await t.client.connected;
    using peer = await openPeer(t.client);
    expect(await ask(peer, "hello")).toBe("hello");
    await until(() => t.proxy.server.tunnels === 0, "the tunnel has ended");
    expect(t.client.counters.expired).toBe(1);
    expect(await ask(peer, "again")).toBe("again");
  });

  test("limits the replies to a peer that is not verified", async () => {
    await using t = await start({ replyFactor: 1 });
    await t.client.connected;
    using peer = await openPeer(t.client);
    // A target that sends three datagrams for the first one.
    using target = await (await import("../../lib/index.ts")).UdpSocket.bind(ANY_PORT);
    await using client = await openClient(t.proxy.server.port, target.localAddr.port, {
      replyFactor: 2,
    });
    await client.connected;
    using victim = await openPeer(client);
    await victim.send("12345678");
    const { peer: from } = await target.recvFrom(Buffer.alloc(10));
    for (let i = 0; i < 3; i++) await target.sendTo("1234567", from as NonNullable<typeof from>);
    await until(() => client.counters.drops.amplified === 1, "the third is dropped");
    expect(client.counters.toUdp.datagrams).toBe(2);
    expect(await ask(peer, "not limited")).toBe("not limited");
  });

  test("opens another tunnel after the target was unreachable", async () => {
    await using t = await start();
    await t.client.connected;
    using peer = await openPeer(t.client);
    const { port } = t.echo.localAddr;
    t.echo.close();
    await peer.send("lost");
    await until(() => t.proxy.counters.aborted === 1, "the tunnel is aborted");
    await until(() => t.client.tunnels === 0, "the client knows");
    using target = await (await import("../../lib/index.ts")).UdpSocket.bind({ ...ANY_PORT, port });
    const received = target.recv(Buffer.alloc(10));
    await peer.send("found");
    expect(await received).toBe(5);
  });
});

const quiche = skipReason === undefined ? installQuiche() : { reason: skipReason };
if (quiche.reason !== undefined) console.log(`tests with quiche are skipped: ${quiche.reason}`);

describe.skipIf(quiche.reason !== undefined)("quiche as the client", () => {
  test("exchanges frames and capsules, and gets the statuses of errors", async () => {
    using echo = await startEcho();
    await using proxy = await TestProxy.start({ tokens: ["right"] });
    const result = await checkQuiche(quiche.quiche as never, {
      port: proxy.server.port,
      ca: identity.certificate,
      token: "right",
      echo: echo.localAddr,
      datagrams: 40,
    });
    expect(result).toStartWith("40 echoed");
    expect(proxy.counters.refusals).toEqual({ 401: 1, 502: 1 });
  });
});

describe("QPACK", () => {
  test("encodes literals", () => {
    const long = "x".repeat(200);
    const [bytes, more] = [encodeFields([[":path", "/"]]), encodeFields([["a", long]])];
    expect([...bytes]).toEqual([0, 0, 0x25, ...Buffer.from(":path"), 1, 0x2f]);
    // 200 = 127 + 73 in the second byte of the length.
    expect([...more.subarray(0, 6)]).toEqual([0, 0, 0x21, 0x61, 0x7f, 73]);
  });

  test("decodes a status from the static table, as text, and as Huffman code", () => {
    expect(decodeStatus(Uint8Array.of(0, 0, 0xd9))).toBe(200);
    expect(decodeStatus(Uint8Array.of(0, 0, 0xff, 5))).toBe(403);
    expect(decodeStatus(Uint8Array.of(0, 0, 0x5f, 9, 3, ...Buffer.from("502")))).toBe(502);
    // RFC 7541, appendix C.6.1: "302" is 6402.
    expect(decodeStatus(Uint8Array.of(0, 0, 0x5f, 9, 0x82, 0x64, 0x02))).toBe(302);
    expect(() => decodeStatus(Uint8Array.of(0, 0))).toThrow("too short");
    expect(() => decodeStatus(Uint8Array.of(0, 0, 0xc0))).toThrow("not :status");
  });
});
