/** Simulated links: loss, duplication, order, capacity, partitions, and the report. */

import { describe, expect, test } from "bun:test";
import { SocketAddress } from "../../lib/index.ts";
import {
  type LinkOptions,
  SimNetwork,
  type SimNetworkOptions,
  type SimSocket,
} from "../../lib/testing/index.ts";

const A = "10.0.0.1";
const B = "10.0.0.2";

/** Opens a connected socket on B, and the socket on A that it sends to. */
function pair(options: SimNetworkOptions = {}) {
  const net = new SimNetwork(options);
  const receiver = net.bind(A, 53);
  const sender = net.bind(B, 0, { connect: receiver.localAddr });
  return { net, receiver, sender };
}

/** Sends `count` datagrams, lets them arrive, and returns their numbers as received. */
async function transfer(net: SimNetwork, sender: SimSocket, receiver: SimSocket, count: number) {
  await net.run(async () => {
    for (let i = 0; i < count; i++) await sender.send(Uint8Array.of(i));
  });
  await net.drain();
  return takeAll(receiver);
}

function takeAll(receiver: SimSocket): number[] {
  const numbers: number[] = [];
  const buffer = new Uint8Array(1);
  while (receiver.receiveQueueLength > 0) {
    receiver.tryRecv(buffer);
    numbers.push(buffer[0] as number);
  }
  return numbers;
}

const sequence = (count: number) => Array.from({ length: count }, (_, i) => i);

describe("a link", () => {
  test("without options delivers every datagram in order after 1 ms", async () => {
    const { net, receiver, sender } = pair();
    expect(await transfer(net, sender, receiver, 100)).toEqual(sequence(100));
    expect(net.now).toBe(1);
  });

  test("loses a share of the datagrams, and counts them", async () => {
    const { net, receiver, sender } = pair({ link: { loss: 0.3 }, seed: 7 });
    const received = await transfer(net, sender, receiver, 200);
    expect(received.length).toBeWithin(110, 170);
    expect(net.report).toMatchObject({ sent: 200, received: received.length, inFlight: 0 });
    expect(net.report.lost.random).toBe(200 - received.length);
    expect(net.report.lostTotal).toBe(200 - received.length);
  });

  test("with loss 1 loses all, and with 0 again none", async () => {
    const { net, receiver, sender } = pair({ link: { loss: 1 } });
    expect(await transfer(net, sender, receiver, 10)).toEqual([]);
    net.link(A, B, { loss: 0 });
    expect(await transfer(net, sender, receiver, 10)).toEqual(sequence(10));
  });

  test("duplicates a share of the datagrams", async () => {
    const { net, receiver, sender } = pair({ link: { duplicate: 0.5 } });
    const received = await transfer(net, sender, receiver, 100);
    expect(net.report.duplicated).toBeWithin(30, 70);
    expect(received.length).toBe(100 + net.report.duplicated);
    expect(new Set(received).size).toBe(100);
  });

  test("with jitter keeps the order, with reorder does not", async () => {
    const { net, receiver, sender } = pair({ link: { jitterMs: 50 } });
    expect(await transfer(net, sender, receiver, 50)).toEqual(sequence(50));
    expect(net.now).toBeWithin(30, 53);
    net.link(A, B, { jitterMs: 0, reorder: 0.2 });
    const received = await transfer(net, sender, receiver, 50);
    expect(received).not.toEqual(sequence(50));
    expect(received.toSorted((a, b) => a - b)).toEqual(sequence(50));
  });

  test("of limited capacity delays datagrams by their length, headers included", async () => {
    const { net, receiver, sender } = pair({ link: { delayMs: 10, bitsPerSecond: 8000 } });
    const times: number[] = [];
    net.observe(({ kind, timeMs }) => kind === "deliver" && times.push(timeMs));
    await net.run(() => sender.sendMany([new Uint8Array(72), new Uint8Array(172)]));
    await net.drain();
    // 8000 bits per second are one byte per millisecond.
    expect(times).toEqual([110, 310]);
    expect(receiver.receiveQueueLength).toBe(2);
  });

  test("loses datagrams that find its queue full", async () => {
    const { net, receiver, sender } = pair({ link: { bitsPerSecond: 1e6, queueDatagrams: 5 } });
    expect(await transfer(net, sender, receiver, 8)).toEqual(sequence(5));
    expect(net.report.lost["link-queue"]).toBe(3);
  });

  test("is set in one direction by linkOneWay", async () => {
    const { net, receiver, sender } = pair();
    net.linkOneWay(A, B, { loss: 1 });
    expect(await transfer(net, sender, receiver, 3)).toEqual([0, 1, 2]);
    await net.run(() => receiver.sendTo(new Uint8Array(1), sender.localAddr));
    expect(net.report.lost.random).toBe(1);
  });

  test("refuses unknown options, wrong values and addresses", () => {
    const { net } = pair();
    const set = (options: object) => () => net.link(A, B, options as LinkOptions);
    expect(set({ latency: 1 })).toThrow(
      'unknown option "latency", expected only delayMs, jitterMs, loss',
    );
    expect(set({ loss: 1.1 })).toThrow('"loss" expected probability 0..1, got 1.1');
    expect(set({ loss: "1%" })).toThrow('"loss" expected probability 0..1, got "1%"');
    expect(set({ delayMs: -1 })).toThrow('"delayMs" expected milliseconds of 0 or more, got -1');
    expect(set({ bitsPerSecond: 0 })).toThrow('"bitsPerSecond" expected number above 0, got 0');
    expect(set({ queueDatagrams: 0 })).toThrow('"queueDatagrams" expected integer 1..');
    expect(set({ mtu: 67 })).toThrow('"mtu" expected integer 68..65535, got 67');
    expect(() => net.link("somewhere", B, {})).toThrow(TypeError);
  });
});

describe("a partition", () => {
  test("loses datagrams in both directions until it is healed", async () => {
    const { net, receiver, sender } = pair();
    const partition = net.partition([A], [B]);
    expect(await transfer(net, sender, receiver, 3)).toEqual([]);
    await net.run(() => receiver.sendTo(new Uint8Array(1), sender.localAddr));
    expect(net.report.lost.partition).toBe(4);
    partition.heal();
    expect(await transfer(net, sender, receiver, 3)).toEqual([0, 1, 2]);
  });

  test("loses datagrams that are on their way, and other hosts are not concerned", async () => {
    const { net, receiver, sender } = pair({ link: { delayMs: 10 } });
    const other = net.bind("10.0.0.3");
    await net.run(() => sender.send(Uint8Array.of(1)));
    using _partition = net.partition([A], [B]);
    await net.run(() => other.sendTo(Uint8Array.of(2), receiver.localAddr));
    await net.drain();
    expect(takeAll(receiver)).toEqual([2]);
    expect(net.report.lost.partition).toBe(1);
  });
});

describe("the report", () => {
  test("has every copy in exactly one place, at any time", async () => {
    const { net, receiver, sender } = pair({
      link: { loss: 0.1, duplicate: 0.1, reorder: 0.1, bitsPerSecond: 1e6 },
      socket: { receiveQueueDatagrams: 5 },
    });
    let events = 0;
    net.observe(() => {
      const { sent, duplicated, received, waiting, inFlight, lostTotal } = net.report;
      expect(received + waiting + inFlight + lostTotal).toBe(sent + duplicated);
      events++;
    });
    await net.run(async () => {
      const receiving = (async () => {
        for (let i = 0; i < 40; i++) await receiver.recv(new Uint8Array(100));
      })();
      for (let i = 0; i < 100; i++) await sender.send(new Uint8Array(100));
      await receiving;
    });
    await net.drain();
    const { waiting } = net.report;
    expect(waiting).toBe(receiver.receiveQueueLength);
    receiver.close();
    expect(net.report).toMatchObject({ waiting: 0, inFlight: 0 });
    expect(net.report.lost.closed).toBe(waiting);
    expect(events).toBeGreaterThan(200);
  });

  test("names the reasons: no host, no socket, full receive queue", async () => {
    const { net, receiver, sender } = pair({ socket: { receiveQueueDatagrams: 2 } });
    const stranger = net.bind("10.0.0.9");
    await net.run(async () => {
      await stranger.sendTo(new Uint8Array(1), SocketAddress.ip("10.0.0.77", 1));
      await stranger.sendTo(new Uint8Array(1), SocketAddress.ip(A, 54));
      // The sender is connected to another peer.
      await stranger.sendTo(new Uint8Array(1), sender.localAddr);
    });
    expect(await transfer(net, sender, receiver, 3)).toEqual([0, 1]);
    expect(net.report.lost).toMatchObject({ "no-host": 1, "no-socket": 2, "receive-queue": 1 });
    expect(receiver.counters.datagramsDropped).toBe(1);
  });
});

describe("the trace", () => {
  test("has one readable line per event, and is limited to the latest ones", async () => {
    const { net, receiver, sender } = pair({ traceEvents: 4 });
    await transfer(net, sender, receiver, 1);
    const { port } = sender.localAddr;
    const addresses = `10.0.0.2:${port} > 10.0.0.1:53 1 bytes`;
    expect(net.trace.map(String)).toEqual([
      `     0.000 ms  send      #1 ${addresses}`,
      `     1.000 ms  deliver   #1 ${addresses}`,
      `     1.000 ms  receive   #1 ${addresses}`,
    ]);
    await transfer(net, sender, receiver, 10);
    expect(net.trace.map(({ kind }) => kind)).toEqual(new Array(4).fill("receive"));
  });

  test("is empty with traceEvents 0, and the digest and observers work without it", async () => {
    const digests = [];
    for (const traceEvents of [0, 100]) {
      const { net, receiver, sender } = pair({ traceEvents });
      let events = 0;
      const stop = net.observe(() => events++);
      await transfer(net, sender, receiver, 1);
      stop();
      await transfer(net, sender, receiver, 1);
      expect([net.trace.length, events]).toEqual([traceEvents === 0 ? 0 : 6, 3]);
      digests.push(net.digest);
    }
    expect(digests[0]).toBe(digests[1] as number);
  });
});

describe("a seed", () => {
  const LOSSY: SimNetworkOptions = { link: { loss: 0.2, duplicate: 0.2, reorder: 0.2 } };

  test("gives the same run, and another one another run", async () => {
    const runs = [];
    for (const seed of [5, 5, 6]) {
      const { net, receiver, sender } = pair({ ...LOSSY, seed });
      const received = await transfer(net, sender, receiver, 50);
      runs.push({ received, trace: net.trace.join("\n"), digest: net.digest });
    }
    expect(runs[1]).toEqual(runs[0] as (typeof runs)[0]);
    expect(runs[2]?.digest).not.toBe(runs[0]?.digest);
    expect(runs[2]?.received).not.toEqual(runs[0]?.received);
  });

  test("makes the digest depend on the payload", async () => {
    const digests = [];
    for (const byte of [1, 2]) {
      const { net, sender } = pair();
      await net.run(() => sender.send(Uint8Array.of(byte)));
      digests.push(net.digest);
    }
    expect(digests[0]).not.toBe(digests[1]);
  });

  test("must be a safe integer", () => {
    for (const seed of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => new SimNetwork({ seed })).toThrow('"seed" expected integer 0..');
    }
    expect(() => new SimNetwork({ sed: 1 } as object)).toThrow(
      '"options" got unknown option "sed", expected only seed, link',
    );
  });
});
