/**
 * Sends that the system refuses, between namespaces: a full queue, packets dropped at the device,
 * firewall rules, datagrams that are too long. The error belongs to the caller whose datagram was
 * refused, nothing waits longer than 20 ms, and nothing is lost without being counted.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

const reason = reasonToSkip(["nft", "tc"]);
if (reason !== undefined) console.warn(`tests of refused sends are skipped: ${reason}`);

const FAMILIES = {
  IPv4: { near: `${LINKS.near.network}2`, far: `${LINKS.far.network}2`, any: "0.0.0.0" },
  IPv6: { near: `${LINKS.near.network6}2`, far: `${LINKS.far.network6}2`, any: "::" },
} as const;

const PORT = 9999;
/** The firewall rejects datagrams to this port. */
const REJECTED_PORT = 9998;

describe.skipIf(reason !== undefined).each(["IPv4", "IPv6"] as const)("over %s", (name) => {
  const { near, far, any } = FAMILIES[name];
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dse");
    namespaces.addNeighbours();
  });
  afterAll(() => namespaces?.[Symbol.dispose]());
  afterEach(() => {
    const { sender } = namespaces;
    Bun.spawnSync(["ip", "netns", "exec", sender, "nft", "flush", "ruleset"]);
    Bun.spawnSync(["tc", "-n", sender, "qdisc", "del", "dev", "near", "root"]);
    Bun.spawnSync(["ip", "-n", sender, "link", "set", "near", "mtu", "1500"]);
  });

  /** Drops all packets at the device, as a firewall's egress hook does. */
  function dropAtDevice(): void {
    const rules = [
      "add table netdev t",
      "add chain netdev t c { type filter hook egress device near priority 0 ; }",
      `add rule netdev t c ${name === "IPv4" ? "ip" : "ip6"} daddr ${near} drop`,
    ].join("\n");
    const command = ["ip", "netns", "exec", namespaces.sender, "nft", "-f", "-"];
    const { exitCode, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(rules) });
    if (exitCode !== 0) throw new Error(stderr.toString());
  }

  /** Drops packets to `REJECTED_PORT` in the output chain: EPERM. */
  function dropInOutput(): void {
    const rules = [
      "add table inet t",
      "add chain inet t c { type filter hook output priority 0 ; }",
      `add rule inet t c udp dport ${REJECTED_PORT} drop`,
    ].join("\n");
    const command = ["ip", "netns", "exec", namespaces.sender, "nft", "-f", "-"];
    const { exitCode, stderr } = Bun.spawnSync(command, { stdin: Buffer.from(rules) });
    if (exitCode !== 0) throw new Error(stderr.toString());
  }

  test.each(["send", "sendMany"] as const)(
    "%s on a connected socket rejects with ENOBUFS within 20 ms of retries",
    async (method) => {
      dropAtDevice();
      const { code, elapsedMs } = await runIn(
        namespaces.sender,
        async ({ UdpSocket }, { hostname, port, method }) => {
          const socket = await UdpSocket.connect({ hostname, port });
          const payload = new Uint8Array(100);
          const startMs = performance.now();
          const promise: Promise<number> =
            method === "send" ? socket.send(payload) : socket.sendMany([payload, payload]);
          const code = await promise.then(String, (error) => error.code);
          return { code, elapsedMs: performance.now() - startMs };
        },
        { hostname: near, port: PORT, method },
      );
      expect(code).toBe("ENOBUFS");
      // The bound is 20 ms; a busy machine may delay the timer.
      expect(elapsedMs).toBeLessThan(1000);
    },
  );

  test("a lasting outage refuses further datagrams at once instead of delaying each", async () => {
    dropAtDevice();
    const { codes, counters } = await runIn(
      namespaces.sender,
      async ({ UdpSocket }, { hostname, port }) => {
        const socket = await UdpSocket.connect({ hostname, port });
        const codes: string[] = [];
        for (let i = 0; i < 200; i++) {
          codes.push(await socket.send(new Uint8Array(100)).then(String, (error) => error.code));
        }
        return { codes: [...new Set(codes)], counters: socket.counters };
      },
      { hostname: near, port: PORT },
    );
    expect(codes).toEqual(["ENOBUFS"]);
    expect(counters.sendErrors).toBe(200);
    // One window of retries for all of them: 1 + 2 + 4 + ... ms, and one per failure at most.
    expect(counters.sendWouldBlocks).toBeLessThan(100);
  });

  test("trySend returns WouldBlock while it may be retried, and throws ENOBUFS after that", async () => {
    dropAtDevice();
    const outcomes = await runIn(
      namespaces.sender,
      async ({ UdpSocket, WouldBlock }, { hostname, port }) => {
        const socket = await UdpSocket.connect({ hostname, port });
        const first = socket.trySend(new Uint8Array(100)) === WouldBlock ? "WouldBlock" : "sent";
        await Bun.sleep(30);
        try {
          socket.trySend(new Uint8Array(100));
          return [first, "sent"];
        } catch (error) {
          return [first, (error as { code: string }).code];
        }
      },
      { hostname: near, port: PORT },
    );
    expect(outcomes).toEqual(["WouldBlock", "ENOBUFS"]);
  });

  test("with a transport error handler, an unreachable device does not block other peers", async () => {
    dropAtDevice();
    const { healthy, blocked, elapsedMs } = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress }, { near, far, any, port }) => {
        const socket = await UdpSocket.bind({ hostname: any });
        socket.onTransportError(() => {});
        const startMs = performance.now();
        const blocked = socket
          .sendTo(new Uint8Array(10), SocketAddress.ip(near, port))
          .then(String, (error) => error.code);
        const healthy = socket.sendTo(new Uint8Array(20), SocketAddress.ip(far, port));
        const result = { healthy: await healthy, blocked: await blocked };
        return { ...result, elapsedMs: performance.now() - startMs };
      },
      { near, far, any, port: PORT },
    );
    expect([healthy, blocked]).toEqual([20, "ENOBUFS"]);
    expect(elapsedMs).toBeLessThan(1000);
  });

  test('with sendErrors "drop", refused datagrams are counted by code and the others are sent', async () => {
    dropInOutput();
    const receiving = runIn(
      namespaces.receiver,
      async ({ UdpSocket }, { any, port }) => {
        const socket = await UdpSocket.bind({ hostname: any, port });
        const lengths: number[] = [];
        for await (const batch of socket.batches()) {
          for (let i = 0; i < batch.length; i++) lengths.push(batch.buffers[i]?.length as number);
          if (lengths.includes(3)) break;
        }
        socket.close();
        return lengths;
      },
      { any, port: PORT },
    );
    await Bun.sleep(300);
    const report = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress }, { near, any, port, rejectedPort }) => {
        const socket = await UdpSocket.bind({
          hostname: any,
          sendErrors: "drop",
          pathMtuDiscovery: "on",
        });
        const sizes = [100, 200, 100, 3000, 200, 100, 100, 3];
        const bufs = sizes.map((size) => new Uint8Array(size));
        const to = sizes.map((size) => SocketAddress.ip(near, size === 200 ? rejectedPort : port));
        const sent = await socket.sendMany(bufs, { to });
        return { sent, counters: socket.counters, byCode: socket.sendDropsByCode };
      },
      { near, any, port: PORT, rejectedPort: REJECTED_PORT },
    );
    expect(report.sent).toBe(8);
    expect(report.byCode).toEqual({ EPERM: 2, EMSGSIZE: 1 });
    expect(report.counters).toMatchObject({ datagramsSent: 5, sendDrops: 3, sendErrors: 0 });
    expect(await receiving).toEqual([100, 100, 100, 100, 3]);
  });

  test("sendMany rejects with the refused datagram's error, and later sends of others succeed", async () => {
    dropInOutput();
    const report = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress }, { near, far, any, port, rejectedPort }) => {
        const socket = await UdpSocket.bind({ hostname: any });
        const bufs = Array.from({ length: 64 }, () => new Uint8Array(100));
        const to = bufs.map((_, i) => SocketAddress.ip(near, i === 10 ? rejectedPort : port));
        const many = socket.sendMany(bufs, { to });
        const other = socket.sendTo(new Uint8Array(50), SocketAddress.ip(far, port));
        const error = await many.catch((error) => error);
        return { code: error.code, sent: error.sent, index: error.index, other: await other };
      },
      { near, far, any, port: PORT, rejectedPort: REJECTED_PORT },
    );
    // Grouped by peer, the datagrams to the other port are sent first.
    expect(report).toEqual({ code: "EPERM", sent: 63, index: 10, other: 50 });
  });

  test("sendBatch rejects, and the batch keeps the refused datagram as its first", async () => {
    dropInOutput();
    const report = await runIn(
      namespaces.sender,
      async ({ UdpSocket, SocketAddress, SendBatch }, { near, any, port, rejectedPort }) => {
        const socket = await UdpSocket.bind({ hostname: any });
        const batch = new SendBatch({ groupByPeer: false });
        for (let i = 0; i < 20; i++) {
          batch.push(new Uint8Array(100), SocketAddress.ip(near, i === 5 ? rejectedPort : port));
        }
        const error = await socket.sendBatch(batch).catch((error) => error);
        const left = batch.length;
        batch.drop(1);
        return { code: error.code, sent: error.sent, left, rest: await socket.sendBatch(batch) };
      },
      { near, any, port: PORT, rejectedPort: REJECTED_PORT },
    );
    expect(report).toEqual({ code: "EPERM", sent: 5, left: 15, rest: 14 });
  });

  test("a fragmented datagram that exceeds the send buffer fails instead of pending", async () => {
    const code = await runIn(
      namespaces.sender,
      async ({ UdpSocket }, { hostname, port }) => {
        const socket = await UdpSocket.connect({ hostname, port }, { sendBufferBytes: 4608 });
        return socket.send(new Uint8Array(30_000)).then(String, (error) => error.code);
      },
      { hostname: near, port: PORT },
    );
    expect(["ENOBUFS", "EMSGSIZE", "30000"]).toContain(code);
  });

  test("a full queue loses nothing that is not reported", async () => {
    run(`tc -n ${namespaces.sender} qdisc add dev near root tbf rate 8mbit burst 3000 limit 6000`);
    const receiving = runIn(
      namespaces.receiver,
      async ({ UdpSocket }, { any, port }) => {
        const socket = await UdpSocket.bind({ hostname: any, port });
        let received = 0;
        const timer = setTimeout(() => socket.close(), 4000);
        for await (const batch of socket.batches()) {
          for (let i = 0; i < batch.length; i++) {
            if (batch.buffers[i]?.length === 1) socket.close();
            else received++;
          }
        }
        clearTimeout(timer);
        return received;
      },
      { any, port: PORT },
    );
    await Bun.sleep(300);
    const counters = await runIn(
      namespaces.sender,
      async ({ UdpSocket }, { hostname, port }) => {
        const socket = await UdpSocket.connect(
          { hostname, port },
          { sendErrors: "drop", offload: false },
        );
        const bufs = Array.from({ length: 300 }, () => new Uint8Array(1000));
        await socket.sendMany(bufs);
        const { datagramsSent, sendDrops } = socket.counters;
        await Bun.sleep(500);
        await socket.send(new Uint8Array(1));
        return { datagramsSent, sendDrops };
      },
      { hostname: near, port: PORT },
    );
    expect(counters.datagramsSent + counters.sendDrops).toBe(300);
    expect(await receiving).toBe(counters.datagramsSent);
  });
});
