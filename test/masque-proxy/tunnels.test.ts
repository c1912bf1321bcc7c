/** Tunnels of the server: datagrams, capsules, malformed input, ends, and counters. */

import { describe, expect, test } from "bun:test";
import { encodeCapsule } from "../../lib/masque/index.ts";
import {
  connectHeaders,
  PATH,
  RawClient,
  skipReason,
  startEcho,
  TestProxy,
  until,
} from "./endpoints.ts";

/** Opens a tunnel to an echo server. */
async function openTunnel(
  options: Parameters<typeof TestProxy.start>[0] = {},
  acceptsDatagrams = true,
) {
  const stack = new AsyncDisposableStack();
  const echo = stack.use(await startEcho());
  const proxy = stack.use(await TestProxy.start(options));
  const client = stack.use(await RawClient.connect(proxy.server.port, acceptsDatagrams));
  const { stream, status, headers } = await client.connectUdp("127.0.0.1", echo.localAddr.port);
  expect([status, headers["capsule-protocol"]]).toEqual([200, "?1"]);
  const [chunks, ended]: [Uint8Array[], PromiseWithResolvers<void>] = [
    [],
    Promise.withResolvers<void>(),
  ];
  void (async () => {
    try {
      for await (const list of stream) chunks.push(...list);
    } catch {
      // The stream was reset.
    }
    ended.resolve();
  })();
  return {
    echo,
    proxy,
    client,
    stream,
    received: () => Buffer.concat(chunks),
    ended: ended.promise,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

describe.skipIf(skipReason !== undefined)("a tunnel", () => {
  test("passes datagrams in both directions, also empty ones", async () => {
    await using t = await openTunnel();
    await t.client.send(0, 0, 1, 2, 3);
    await t.client.send(0, 0);
    await until(() => t.client.datagrams.length === 2, "both echoes");
    const all = t.client.datagrams.map((bytes) => [...bytes]);
    expect(all).toContainEqual([0, 0, 1, 2, 3]);
    expect(all).toContainEqual([0, 0]);
    expect(t.proxy.counters.toUdp).toEqual({ datagrams: 2, bytes: 3 });
    expect(t.proxy.counters.toTunnel).toEqual({ datagrams: 2, bytes: 3 });
  });

  test("sends capsules to a client that accepts no DATAGRAM frames", async () => {
    await using t = await openTunnel({}, false);
    const payload = new Uint8Array(5001).fill(7);
    payload[0] = 0; // the context ID
    t.stream.writer.writeSync(encodeCapsule(0, payload));
    const expected = Buffer.from(encodeCapsule(0, payload));
    await until(() => t.received().length === expected.length, "the echo");
    expect(t.received().equals(expected)).toBe(true);
    expect(t.client.datagrams).toEqual([]);
  });

  test("accepts capsules and frames in one tunnel, and capsules in pieces", async () => {
    await using t = await openTunnel();
    const capsule = encodeCapsule(0, Uint8Array.of(0, 9, 9));
    for (const byte of capsule) {
      t.stream.writer.writeSync(Uint8Array.of(byte));
      await Bun.sleep(1);
    }
    await until(() => t.client.datagrams.length === 1, "the echo");
    expect([...(t.client.datagrams[0] as Uint8Array)]).toEqual([0, 0, 9, 9]);
  });

  test("keeps the contents of capsules that span packets apart", async () => {
    await using t = await openTunnel({}, false);
    const all = Array.from({ length: 20 }, (_, i) => {
      const value = new Uint8Array(3001).fill(i + 1);
      value[0] = 0; // the context ID
      return Buffer.from(encodeCapsule(0, value));
    });
    const bytes = Buffer.concat(all);
    t.stream.writer.writeSync(bytes);
    await until(() => t.received().length === bytes.length, "all echoes");
    expect(t.received().equals(bytes)).toBe(true);
  });

  test("ignores capsules of unknown types", async () => {
    await using t = await openTunnel();
    t.stream.writer.writeSync(encodeCapsule(0x29 * 3 + 0x17, new Uint8Array(3000)));
    t.stream.writer.writeSync(encodeCapsule(0, Uint8Array.of(0, 5)));
    await until(() => t.client.datagrams.length === 1, "the echo");
    expect(t.proxy.counters.toUdp).toEqual({ datagrams: 1, bytes: 1 });
  });

  test("drops other context IDs, in frames and capsules, and counts them", async () => {
    await using t = await openTunnel();
    await t.client.send(0, 2, 1, 1);
    t.stream.writer.writeSync(encodeCapsule(0, Uint8Array.of(0x40, 0x41, 1)));
    const { drops } = t.proxy.counters;
    await until(() => drops.unknownContext === 2, "both drops");
    expect(t.proxy.counters.toUdp.datagrams).toBe(0);
    expect(t.proxy.server.tunnels).toBe(1);
  });

  for (const [name, bytes] of [
    ["a capsule without a context ID", encodeCapsule(0, new Uint8Array(0))],
    ["a capsule with half a context ID", encodeCapsule(0, Uint8Array.of(0x40))],
    ["a capsule that is too long", Uint8Array.of(0, 0x80, 0x02, 0, 0)],
    ["a payload above 65527 bytes", encodeCapsule(0, new Uint8Array(65_529))],
  ] as const) {
    test(`${name} aborts it`, async () => {
      await using t = await openTunnel();
      t.stream.writer.writeSync(bytes);
      await t.ended;
      await until(() => t.proxy.server.tunnels === 0, "the tunnel has ended");
      expect(t.proxy.counters.drops.malformed).toBe(1);
      expect(t.proxy.counters.aborted).toBe(1);
      expect(t.proxy.counters.toUdp.datagrams).toBe(0);
    });
  }

  test("the end of the stream within a capsule aborts it", async () => {
    await using t = await openTunnel();
    t.stream.writer.writeSync(Uint8Array.of(0, 10, 0));
    t.stream.writer.endSync();
    await until(() => t.proxy.counters.aborted === 1, "aborted");
    expect(t.proxy.counters.drops.malformed).toBe(1);
  });

  test("a frame without a context ID aborts its stream only", async () => {
    await using t = await openTunnel();
    const other = await t.client.connectUdp("127.0.0.1", t.echo.localAddr.port);
    expect(other.status).toBe(200);
    await t.client.send(0);
    await t.ended;
    await until(() => t.proxy.server.tunnels === 1, "one tunnel is left");
    await t.client.send(Number(other.stream.id) / 4, 0, 7);
    await until(() => t.client.datagrams.length === 1, "the other tunnel works");
  });

  test("a frame without a stream ID ends the connection", async () => {
    await using t = await openTunnel();
    await t.client.send(0xc0, 1);
    const error = await t.client.session.closed.then(
      () => undefined,
      (reason) => String(reason),
    );
    expect(error).toContain("51");
    await until(() => t.proxy.server.tunnels === 0, "the tunnel has ended");
    expect(t.proxy.counters.drops.malformed).toBe(1);
  });

  test("frames for streams that are no tunnels are dropped and counted", async () => {
    await using t = await openTunnel();
    const refused = await t.client.connectUdp("10.0.0.1", 53);
    await t.client.send(Number(refused.stream.id) / 4, 0, 1);
    for (let i = 0; i < 70; i++) await t.client.send(40, 0, i);
    await until(() => t.proxy.counters.drops.unknownStream === 71, "all drops");
    expect(t.proxy.counters.toUdp.datagrams).toBe(0);
  });

  test("keeps datagrams until the socket is open, 64 at most", async () => {
    using echo = await startEcho();
    const { promise, resolve } = Promise.withResolvers<readonly string[]>();
    await using proxy = await TestProxy.start({ lookup: () => promise });
    await using client = await RawClient.connect(proxy.server.port);
    const { response } = await client.open(connectHeaders(`${PATH}a.test/${echo.localAddr.port}/`));
    await until(() => proxy.server.tunnels === 1, "the request has arrived");
    for (let i = 0; i < 70; i++) await client.send(0, 0, i);
    await until(() => proxy.counters.drops.opening === 6, "six drops");
    resolve(["127.0.0.1"]);
    expect((await response).status).toBe(200);
    await until(() => client.datagrams.length === 64, "64 echoes");
  });

  test("ends when it is idle, and not before", async () => {
    await using t = await openTunnel({ idleTimeoutMs: 200 });
    await t.ended;
    expect([t.proxy.server.tunnels, t.proxy.counters.expired]).toEqual([0, 1]);
  });

  test("ends with its client's connection", async () => {
    await using t = await openTunnel();
    await t.client[Symbol.asyncDispose]();
    await until(() => t.proxy.server.tunnels === 0, "the tunnel has ended");
  });

  test("ends when the client resets the stream", async () => {
    await using t = await openTunnel();
    t.stream.resetStream(0x10cn);
    await until(() => t.proxy.server.tunnels === 0, "the tunnel has ended");
    await t.client.send(0, 0, 1);
    await until(() => t.proxy.counters.drops.unknownStream === 1, "the drop");
  });

  test("to a closed port ends with an error", async () => {
    await using t = await openTunnel();
    t.echo.close();
    await t.client.send(0, 0, 1);
    await t.ended;
    await until(() => t.proxy.counters.aborted === 1, "aborted");
    expect(t.proxy.counters.transportErrors).toBe(1);
  });

  test("replies that are too long for a DATAGRAM frame are dropped and counted", async () => {
    await using t = await openTunnel();
    const value = new Uint8Array(1150); // a payload of 1149 bytes; frames have up to 1148
    t.stream.writer.writeSync(encodeCapsule(0, value));
    await until(() => t.proxy.counters.drops.oversize === 1, "the drop");
    t.stream.writer.writeSync(encodeCapsule(0, value.subarray(1)));
    await until(() => t.client.datagrams.length === 1, "the echo");
    expect(t.client.datagrams[0]?.length).toBe(1150);
  });

  test("passes nothing from addresses other than the target's", async () => {
    await using t = await openTunnel();
    await t.client.send(0, 0, 1);
    await until(() => t.client.datagrams.length === 1, "the echo");
    using other = await startEcho();
    expect(other.counters.datagramsReceived).toBe(0);
    expect(t.echo.counters.datagramsReceived).toBe(1);
  });

  test("sends one datagram per datagram: no input is amplified", async () => {
    await using t = await openTunnel();
    for (let i = 0; i < 50; i++) await t.client.send(0, 0, i, i);
    await until(() => t.client.datagrams.length === 50, "all echoes");
    const { datagramsReceived, bytesReceived } = t.echo.counters;
    expect([datagramsReceived, bytesReceived]).toEqual([50, 100]);
  });

  test("arbitrary frames and stream data harm no other connection", async () => {
    await using t = await openTunnel();
    for (let round = 0; round < 20; round++) {
      await using hostile = await RawClient.connect(t.proxy.server.port);
      const { stream } = await hostile.connectUdp("127.0.0.1", 9);
      stream.writer.writeSync(crypto.getRandomValues(new Uint8Array(500)));
      for (let i = 0; i < 20; i++) {
        const bytes = crypto.getRandomValues(new Uint8Array(1 + (i % 9)));
        await hostile.session.sendDatagram(bytes).catch(() => {});
      }
    }
    await until(() => t.proxy.server.tunnels === 1, "the others have ended");
    await t.client.send(0, 0, 1);
    await until(() => t.client.datagrams.length === 1, "the echo");
  });
});
