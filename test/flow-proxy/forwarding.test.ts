/** Tests of forwarding: batches, backpressure, and sockets that fail or are closed. */

import { afterEach, describe, expect, test } from "bun:test";
import {
  type BatchSource,
  type BatchTarget,
  flushBatch,
  newSendBatch,
} from "../../examples/flow-proxy/batch-io.ts";
import { newEndpointCounters } from "../../examples/flow-proxy/counters.ts";
import { batchSink, Forwarder } from "../../examples/flow-proxy/forwarder.ts";
import { openSocket } from "../../examples/flow-proxy/open-socket.ts";
import { ReplyAllowance } from "../../examples/flow-proxy/reply-allowance.ts";
import { type FlowKey, ReplyQueue } from "../../examples/flow-proxy/reply-queue.ts";
import { TunnelDatagram } from "../../examples/flow-proxy/tunnel-datagram.ts";
import {
  Pending,
  type Poll,
  RecvBatch,
  SendBatch,
  SocketAddress,
  SocketError,
  type UdpSocket,
  UnixDatagram,
  type Waker,
} from "../../lib/index.ts";
import { allocates } from "../tools/allocation.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import {
  closedPort,
  connectedPair,
  nextTick,
  numbered,
  receiveNumbers,
  sequence,
  until,
} from "../tools/sockets.ts";

const INGRESS = SocketAddress.ip("192.0.2.1", 53);
const OTHER_INGRESS = SocketAddress.ip("192.0.2.2", 53);
/** Rounds of a batch of 64 datagrams: more than a million datagrams in each direction. */
const ROUNDS = 20_000;
const BYTES_MAX = { datagramBytesMax: 1500 };

const opened: { close(): void }[] = [];

afterEach(() => {
  for (const closable of opened.splice(0)) closable.close();
});

async function openPair(): Promise<{ receiver: UdpSocket; sender: UdpSocket }> {
  const pair = await connectedPair("native");
  opened.push(pair.receiver, pair.sender);
  return pair;
}

/**
 * A socket whose sends have the results in `script`: a number of datagrams (0: the socket is full)
 * or an error. After the script, sends succeed.
 */
class ScriptedTarget implements BatchTarget {
  readonly sent: string[] = [];
  readonly addresses: string[] = [];
  calls = 0;
  waker: Waker | null = null;
  script: (number | Error)[] = [];

  pollSendBatch(waker: Waker | null, batch: SendBatch): Poll<number> {
    this.calls++;
    const step = this.script.shift() ?? batch.length;
    if (step instanceof Error) throw step;
    if (step === 0) {
      this.waker = waker;
      return Pending;
    }
    const count = Math.min(step, batch.length);
    for (let i = 0; i < count; i++) {
      this.sent.push(Buffer.from(batch._firstBytes()).toString("latin1"));
      this.addresses.push(String(batch._firstAddress));
      batch.drop(1);
    }
    return count;
  }
}

function failure(code: string): SocketError {
  return new SocketError({ errno: 0, code, syscall: "sendmmsg" });
}

function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

function batchOf(payloads: readonly string[], script: (number | Error)[]) {
  const socket = new ScriptedTarget();
  socket.script = script;
  const batch = new SendBatch({ datagrams: 4 });
  for (const payload of payloads) batch.push(bytesOf(payload));
  return { socket, batch, counters: newEndpointCounters() };
}

describe("flushBatch", () => {
  test("returns false if the socket is full, and sends the remaining datagrams later", () => {
    const { socket, batch, counters } = batchOf(["a", "b", "c"], [2, 0]);
    let woken = 0;
    const waker = () => woken++;
    expect(flushBatch(socket, waker, batch, counters)).toBe(false);
    expect([socket.sent, batch.length]).toEqual([["a", "b"], 1]);
    socket.waker?.();
    expect(flushBatch(socket, waker, batch, counters)).toBe(true);
    expect([socket.sent, batch.length, woken]).toEqual([["a", "b", "c"], 0, 1]);
    expect(counters).toEqual(newEndpointCounters());
  });

  test("a datagram that the system refuses is dropped and counted, and the others are sent", async () => {
    const receiver = await openSocket({ hostname: "127.0.0.1" });
    const { address: hostname, port } = receiver.localAddr;
    const sender = await openSocket({ connect: { hostname, port } });
    opened.push(receiver, sender);
    const batch = new SendBatch();
    batch.push(bytesOf("a")).push(new Uint8Array(70_000)).push(bytesOf("c"));
    expect(flushBatch(sender, null, batch, newEndpointCounters())).toBe(true);
    expect(sender.sendDropsByCode).toEqual({ EMSGSIZE: 1 });
    const buf = new Uint8Array(9);
    expect([await receiver.recv(buf), await receiver.recv(buf)]).toEqual([1, 1]);
  });

  test("an ICMP error about an earlier datagram drops none", async () => {
    const connect = { hostname: "127.0.0.1", port: await closedPort() };
    const sender = await openSocket({ connect });
    opened.push(sender);
    for (let i = 0; i < 10; i++) {
      const batch = new SendBatch().push(bytesOf("a")).push(bytesOf("b c"));
      expect(flushBatch(sender, null, batch, newEndpointCounters())).toBe(true);
    }
    const { datagramsSent, sendDrops, transportErrors } = sender.counters;
    expect([datagramsSent, sendDrops]).toEqual([20, 0]);
    expect(transportErrors).toBeGreaterThan(0);
  });

  test("clears the batch and counts its datagrams if the socket is closed", () => {
    const { socket, batch, counters } = batchOf(["a", "b"], [failure("ERR_SOCKET_CLOSED")]);
    expect(flushBatch(socket, null, batch, counters)).toBe(true);
    expect([batch.length, counters.drops.closed]).toEqual([0, 2]);
  });

  test("throws any other error: the sockets of the proxy report none", () => {
    const { socket, batch, counters } = batchOf(["a"], [failure("EPERM")]);
    expect(() => flushBatch(socket, null, batch, counters)).toThrow("EPERM");
    expect(batch.length).toBe(1);
  });

  test("throws an error that is not a SocketError", () => {
    const { socket, batch, counters } = batchOf(["a"], [new TypeError("a mistake")]);
    expect(() => flushBatch(socket, null, batch, counters)).toThrow("a mistake");
  });
});

describe("a forwarder", () => {
  /** Forwards datagrams to `target`, in batches of up to `datagrams`. */
  function forward(source: BatchSource, target: BatchTarget, datagrams = 1024) {
    const counters = newEndpointCounters();
    const out = new SendBatch({ datagrams });
    const sink = batchSink(target, out, counters, (batch, i) => {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    });
    new Forwarder(source, { sink, counters, ...BYTES_MAX }).run();
    return counters;
  }

  test("receives nothing while the target is full", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    target.script = [1, 0, 0, 0];
    const counters = forward(receiver, target);
    await sender.sendMany([bytesOf("a"), bytesOf("b")]);
    await until(() => target.waker !== null);
    await sender.sendMany([bytesOf("c"), bytesOf("d")]);
    for (let tick = 0; tick < 5; tick++) await nextTick();
    expect([receiver.counters.datagramsReceived, target.sent]).toEqual([2, ["a"]]);
    target.script = [];
    target.waker?.();
    await until(() => target.sent.length === 4);
    expect(target.sent).toEqual(["a", "b", "c", "d"]);
    expect(counters).toEqual(newEndpointCounters());
  });

  test("loses nothing and keeps the order if the target is full at times", async () => {
    const [client, near] = await UnixDatagram.pair();
    const [tunnel, far] = await UnixDatagram.pair();
    opened.push(client, near, tunnel, far);
    const counters = forward(near, tunnel, 7);
    const sending = client.sendMany(numbered(1000));
    await until(() => tunnel.counters.sendWouldBlocks > 0);
    expect(await receiveNumbers(far, 1000)).toEqual(sequence(1000));
    expect(await sending).toBe(1000);
    expect(counters).toEqual(newEndpointCounters());
  });

  test("sends a received batch in several parts if the send batch is smaller", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    await sender.sendMany(numbered(50).map((_, i) => bytesOf(`datagram ${i}`)));
    forward(receiver, target, 4);
    await until(() => target.sent.length === 50);
    expect(target.sent).toEqual(sequence(50).map((i) => `datagram ${i}`));
    expect(target.calls).toBe(13);
  });

  test("counts and drops datagrams that are too long, and forwards the others", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    const counters = forward(receiver, target);
    const lengths = [1501, 1500, 0, 65_000, 1];
    await sender.sendMany(lengths.map((length) => new Uint8Array(length)));
    await until(() => target.sent.length === 3);
    expect(target.sent.map(({ length }) => length)).toEqual([1500, 0, 1]);
    expect(counters.drops.oversize).toBe(2);
  });
});

/** Returns the allowance of a flow whose client is verified. */
function verifiedAllowance(): ReplyAllowance {
  const allowance = new ReplyAllowance(1);
  allowance.onRequest(0);
  expect(allowance.take(0)).toBe(true);
  allowance.onRequest(0);
  return allowance;
}

describe("the reply queue", () => {
  const unusedWaker = () => {};

  /** Creates a flow with `replies` in the receive buffer of its socket. */
  async function flowWithReplies(replies: readonly string[], key: FlowKey) {
    const { receiver, sender } = await openPair();
    await sender.sendMany(replies.map(bytesOf));
    return { receiver, key };
  }

  /** Receives the replies of a flow into the queue. */
  function enqueue(
    queue: ReplyQueue,
    { receiver, key }: Awaited<ReturnType<typeof flowWithReplies>>,
  ): void {
    receiver.tryRecvBatch(queue.reserve(unusedWaker) as RecvBatch);
    queue.commit({ key, allowance: verifiedAllowance() });
  }

  /**
   * Enqueues `replies` for flows 0, 1 ... of a socket that is full, until the queue is full.
   * Returns the number of flows.
   */
  async function fillQueue(queue: ReplyQueue, socket: ScriptedTarget, replies: readonly string[]) {
    const { receiver, sender } = await openPair();
    socket.script = Array.from({ length: 1000 }, () => 0);
    let flows = 0;
    while (queue.reserve(unusedWaker) !== undefined) {
      await sender.sendMany(replies.map(bytesOf));
      enqueue(queue, { receiver, key: { id: flows++, ingress: INGRESS } });
    }
    return flows;
  }

  test("sends the replies of a tick as one batch, except those that are too long", async () => {
    const socket = new ScriptedTarget();
    const counters = newEndpointCounters();
    const queue = new ReplyQueue(socket, counters);
    const replies = ["a", "b".repeat(1501), "c".repeat(1500)];
    const flows = [
      await flowWithReplies(replies, { id: 1, ingress: INGRESS }),
      await flowWithReplies(["d".repeat(1501)], { id: 2, ingress: INGRESS }),
      await flowWithReplies(["", "e"], { id: 64, ingress: OTHER_INGRESS }),
    ];
    for (const flow of flows) enqueue(queue, flow);
    expect(socket.calls).toBe(0);
    await Promise.resolve();
    expect(socket.calls).toBe(1);
    expect(socket.sent).toEqual(["\x01a", `\x01${"c".repeat(1500)}`, "\x40\x40", "\x40\x40e"]);
    expect(socket.addresses).toEqual([INGRESS, INGRESS, OTHER_INGRESS, OTHER_INGRESS].map(String));
    expect(counters.drops).toEqual({ ...newEndpointCounters().drops, oversize: 2 });
  });

  test("makes flows wait while all batches are in use, and wakes them afterwards", async () => {
    const socket = new ScriptedTarget();
    const queue = new ReplyQueue(socket, newEndpointCounters());
    const flows = await fillQueue(queue, socket, ["reply"]);
    let woken = 0;
    expect(queue.reserve(() => woken++)).toBeUndefined();
    expect([flows, socket.sent.length]).toEqual([32, 0]);
    socket.script = [];
    socket.waker?.();
    expect([woken, socket.sent.length]).toEqual([1, 32]);
    expect(queue.reserve(unusedWaker)).toBeDefined();
    expect(socket.sent).toEqual(sequence(32).map((id) => `${String.fromCharCode(id)}reply`));
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "splits the replies of a flow if the send batch is full",
    async () => {
      const socket = new ScriptedTarget();
      const queue = new ReplyQueue(socket, newEndpointCounters());
      const replies = sequence(40).map((i) => `reply ${10 + i}`);
      await fillQueue(queue, socket, replies);
      socket.script = [700, 0, 0];
      socket.waker?.();
      expect([queue.reserve(unusedWaker) === undefined, socket.sent.length]).toEqual([true, 700]);
      socket.waker?.();
      const expected = sequence(32).flatMap((id) =>
        replies.map((reply) => String.fromCharCode(id) + reply),
      );
      expect(socket.sent).toEqual(expected);
      expect(queue.reserve(unusedWaker)).toBeDefined();
    },
  );
});

/** Polls a socket without a waker, so that the budget of a tick does not apply. */
function withoutWakers(socket: UdpSocket): BatchSource & BatchTarget {
  return {
    pollRecvBatch: (_waker, batch) => socket.pollRecvBatch(null, batch),
    pollSendBatch: (_waker, batch) => socket.pollSendBatch(null, batch),
  };
}

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "forwarding batches into and out of the tunnel allocates nothing per datagram",
  async () => {
    const count = 64;
    const [clients, tunnel] = [await openPair(), await openPair()];
    const counters = newEndpointCounters();
    const tunnelBatch = newSendBatch();
    const sinkToTunnel = batchSink(
      withoutWakers(tunnel.sender),
      tunnelBatch,
      counters,
      (batch, i) => {
        tunnelBatch.prefixVarint(77).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
      },
    );
    const clientBatch = newSendBatch();
    const client = clients.sender.localAddr;
    const datagram = new TunnelDatagram();
    const sinkToClient = batchSink(
      withoutWakers(clients.receiver),
      clientBatch,
      counters,
      (batch, i) => {
        if (!datagram.parse(batch, i) || datagram.flowId !== 77) counters.drops.unknownFlow++;
        clientBatch.pushSlice(batch.bytes, datagram.payloadOffset, datagram.payloadLength, client);
      },
    );
    const toTunnel = new Forwarder(withoutWakers(clients.receiver), {
      sink: sinkToTunnel,
      counters,
      ...BYTES_MAX,
    });
    const toClient = new Forwarder(withoutWakers(tunnel.receiver), {
      sink: sinkToClient,
      counters,
      ...BYTES_MAX,
    });
    const requests = new SendBatch({ datagrams: count });
    const payload = new Uint8Array(100);
    const replies = new RecvBatch({ messages: count });
    let replyCount = 0;
    const round = () => {
      for (let i = 0; i < count; i++) requests.push(payload);
      clients.sender.trySendBatch(requests);
      toTunnel.run();
      toClient.run();
      replyCount += clients.sender.tryRecvBatch(replies) as number;
    };
    expect(await allocates(round, ROUNDS)).toBe(false);
    expect(replyCount % count).toBe(0);
    expect(replyCount).toBeGreaterThanOrEqual(2 * ROUNDS * count);
    expect(counters).toEqual(newEndpointCounters());
  },
  60_000,
);
