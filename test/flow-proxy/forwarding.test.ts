/** How the proxy's batches leave and arrive when a socket is full, fails or is closed. */

import { afterEach, describe, expect, test } from "bun:test";
import {
  type BatchSource,
  type BatchTarget,
  flushBatch,
  newSendBatch,
  Receiver,
  sinkInto,
} from "../../examples/flow-proxy/batch.ts";
import { newHalfCounts } from "../../examples/flow-proxy/counts.ts";
import { flowIdLength } from "../../examples/flow-proxy/flow-id.ts";
import { type Answerer, Outbox } from "../../examples/flow-proxy/outbox.ts";
import {
  decodeVarint,
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
  connectedPair,
  nextTurn,
  numbered,
  receiveNumbers,
  sequence,
  until,
} from "../tools/sockets.ts";

const INGRESS = SocketAddress.ip("192.0.2.1", 53);
const OTHER = SocketAddress.ip("192.0.2.2", 53);
/** Of batches of 64 datagrams: over a million pass either way. */
const CALLS = 20_000;
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

/** Sends as far as it is told to: a number of datagrams, or an error, per call. */
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
  return { socket, batch, counts: newHalfCounts() };
}

describe("a batch on its way out", () => {
  test("goes on behind what a full socket took, once it is woken", () => {
    const { socket, batch, counts } = batchOf(["a", "b", "c"], [2, 0]);
    let woken = 0;
    const waker = () => woken++;
    expect(flushBatch(socket, waker, batch, counts)).toBe(false);
    expect([socket.sent, batch.length]).toEqual([["a", "b"], 1]);
    socket.waker?.();
    expect(flushBatch(socket, waker, batch, counts)).toBe(true);
    expect([socket.sent, batch.length, woken]).toEqual([["a", "b", "c"], 0, 1]);
    expect(counts).toEqual(newHalfCounts());
  });

  test("loses nothing to an error about an earlier datagram", () => {
    const { socket, batch, counts } = batchOf(["a", "b"], [1, failure("ECONNREFUSED")]);
    expect(flushBatch(socket, null, batch, counts)).toBe(true);
    expect([socket.sent, counts.socketErrors, counts.drops.failed]).toEqual([["a", "b"], 1, 0]);
  });

  test("loses the datagram that fails twice, and no other", () => {
    const refused = failure("EMSGSIZE");
    const { socket, batch, counts } = batchOf(["a", "b", "c"], [1, refused, refused, refused]);
    expect(flushBatch(socket, null, batch, counts)).toBe(true);
    expect(socket.sent).toEqual(["a", "c"]);
    expect([counts.socketErrors, counts.drops.failed]).toEqual([3, 1]);
  });

  test("loses nothing to errors with datagrams sent between them", () => {
    const refused = failure("ECONNREFUSED");
    const { socket, batch, counts } = batchOf(["a", "b", "c"], [refused, 1, refused, 1, refused]);
    expect(flushBatch(socket, null, batch, counts)).toBe(true);
    expect(socket.sent).toEqual(["a", "b", "c"]);
    expect([counts.socketErrors, counts.drops.failed]).toEqual([3, 0]);
  });

  test("is given up on a closed socket, uncounted", () => {
    const { socket, batch, counts } = batchOf(["a", "b"], [failure("ERR_SOCKET_CLOSED")]);
    expect(flushBatch(socket, null, batch, counts)).toBe(true);
    expect([batch.length, counts]).toEqual([0, newHalfCounts()]);
  });

  test("lets errors through that are no socket's", () => {
    const { socket, batch, counts } = batchOf(["a"], [new TypeError("a mistake")]);
    expect(() => flushBatch(socket, null, batch, counts)).toThrow("a mistake");
  });
});

describe("a receiver", () => {
  /** Passes what comes on into a line of `room` datagrams for `target`. */
  function relay(source: BatchSource, target: BatchTarget, room = 1024) {
    const counts = newHalfCounts();
    const out = new SendBatch({ datagrams: room });
    const sink = sinkInto(target, out, counts, (batch, i) => {
      out.pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    });
    new Receiver(source, { sink, counts, ...BYTES_MAX }).run();
    return counts;
  }

  test("takes nothing more while what it took cannot be sent on", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    target.script = [1, 0, 0, 0];
    const counts = relay(receiver, target);
    await sender.sendMany([bytesOf("a"), bytesOf("b")]);
    await until(() => target.waker !== null);
    await sender.sendMany([bytesOf("c"), bytesOf("d")]);
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    expect([receiver.counters.datagramsReceived, target.sent]).toEqual([2, ["a"]]);
    target.script = [];
    target.waker?.();
    await until(() => target.sent.length === 4);
    expect(target.sent).toEqual(["a", "b", "c", "d"]);
    expect(counts).toEqual(newHalfCounts());
  });

  test("loses nothing and keeps the order between sockets that are full now and then", async () => {
    const [client, near] = await UnixDatagram.pair();
    const [tunnel, far] = await UnixDatagram.pair();
    opened.push(client, near, tunnel, far);
    const counts = relay(near, tunnel, 7);
    const sending = client.sendMany(numbered(1000));
    await until(() => tunnel.counters.sendWouldBlocks > 0);
    expect(await receiveNumbers(far, 1000)).toEqual(sequence(1000));
    expect(await sending).toBe(1000);
    expect(counts).toEqual(newHalfCounts());
  });

  test("goes through a batch in parts when the line is shorter", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    await sender.sendMany(numbered(50).map((_, i) => bytesOf(`datagram ${i}`)));
    relay(receiver, target, 4);
    await until(() => target.sent.length === 50);
    expect(target.sent).toEqual(sequence(50).map((i) => `datagram ${i}`));
    expect(target.calls).toBe(13);
  });

  test("drops and counts what is too long, and nothing around it", async () => {
    const { receiver, sender } = await openPair();
    const target = new ScriptedTarget();
    const counts = relay(receiver, target);
    const lengths = [1501, 1500, 0, 65_000, 1];
    await sender.sendMany(lengths.map((length) => new Uint8Array(length)));
    await until(() => target.sent.length === 3);
    expect(target.sent.map(({ length }) => length)).toEqual([1500, 0, 1]);
    expect(counts.drops.oversize).toBe(2);
  });
});

describe("the outbox", () => {
  const nobody = () => {};

  /** A flow that was answered with `payloads`, which wait in its socket. */
  async function answered(payloads: readonly string[], answerer: Answerer) {
    const { receiver, sender } = await openPair();
    await sender.sendMany(payloads.map(bytesOf));
    return { receiver, answerer };
  }

  /** Has the flow receive, and keep what came in the outbox. */
  function put(outbox: Outbox, { receiver, answerer }: Awaited<ReturnType<typeof answered>>): void {
    receiver.tryRecvBatch(outbox.room(nobody) as RecvBatch);
    outbox.commit(answerer);
  }

  /** Has flows 0, 1 ... answer with `payloads` until none may any more: how many did. */
  async function fillUp(outbox: Outbox, socket: ScriptedTarget, payloads: readonly string[]) {
    const { receiver, sender } = await openPair();
    socket.script = Array.from({ length: 1000 }, () => 0);
    let filled = 0;
    while (outbox.room(nobody) !== undefined) {
      await sender.sendMany(payloads.map(bytesOf));
      put(outbox, { receiver, answerer: { id: filled++, ingress: INGRESS } });
    }
    return filled;
  }

  test("sends what all flows put in it in a turn as one batch, less what is too long", async () => {
    const socket = new ScriptedTarget();
    const counts = newHalfCounts();
    const outbox = new Outbox(socket, counts);
    const flows = [
      await answered(["a", "b".repeat(1501), "c".repeat(1500)], { id: 1, ingress: INGRESS }),
      await answered(["d".repeat(1501)], { id: 2, ingress: INGRESS }),
      await answered(["", "e"], { id: 64, ingress: OTHER }),
    ];
    for (const flow of flows) put(outbox, flow);
    expect(socket.calls).toBe(0);
    await Promise.resolve();
    expect(socket.calls).toBe(1);
    expect(socket.sent).toEqual(["\x01a", `\x01${"c".repeat(1500)}`, "\x40\x40", "\x40\x40e"]);
    expect(socket.addresses).toEqual([INGRESS, INGRESS, OTHER, OTHER].map(String));
    expect(counts.drops).toEqual({ ...newHalfCounts().drops, oversize: 2 });
  });

  test("has every flow wait when it is full, and wakes them when it is empty", async () => {
    const socket = new ScriptedTarget();
    const outbox = new Outbox(socket, newHalfCounts());
    const filled = await fillUp(outbox, socket, ["answer"]);
    let woken = 0;
    expect(outbox.room(() => woken++)).toBeUndefined();
    expect([filled, socket.sent.length]).toEqual([32, 0]);
    socket.script = [];
    socket.waker?.();
    expect([woken, socket.sent.length]).toEqual([1, 32]);
    expect(outbox.room(nobody)).toBeDefined();
    expect(socket.sent).toEqual(sequence(32).map((id) => `${String.fromCharCode(id)}answer`));
  });

  test.skipIf(NO_OFFLOAD_REASON !== undefined)(
    "goes on in the middle of a flow's answers when they are more than one line",
    async () => {
      const socket = new ScriptedTarget();
      const outbox = new Outbox(socket, newHalfCounts());
      const answers = sequence(40).map((i) => `answer ${10 + i}`);
      await fillUp(outbox, socket, answers);
      socket.script = [700, 0, 0];
      socket.waker?.();
      expect([outbox.room(nobody) === undefined, socket.sent.length]).toEqual([true, 700]);
      socket.waker?.();
      const expected = sequence(32).flatMap((id) =>
        answers.map((answer) => String.fromCharCode(id) + answer),
      );
      expect(socket.sent).toEqual(expected);
      expect(outbox.room(nobody)).toBeDefined();
    },
  );
});

/** Has it receive and send what goes now, whatever turn of the event loop it is. */
function atOnce(socket: UdpSocket): BatchSource & BatchTarget {
  return {
    pollRecvBatch: (_waker, batch) => socket.pollRecvBatch(null, batch),
    pollSendBatch: (_waker, batch) => socket.pollSendBatch(null, batch),
  };
}

test.skipIf(NO_OFFLOAD_REASON !== undefined)(
  "passing a batch on with flow IDs, and back without, allocates nothing a datagram",
  async () => {
    const count = 64;
    const [clients, tunnel] = [await openPair(), await openPair()];
    const counts = newHalfCounts();
    const up = newSendBatch();
    const add = sinkInto(atOnce(tunnel.sender), up, counts, (batch, i) => {
      up.prefixVarint(77).pushSlice(batch.bytes, batch.offsetAt(i), batch.lengthAt(i));
    });
    const down = newSendBatch();
    const back = clients.sender.localAddr;
    const strip = sinkInto(atOnce(clients.receiver), down, counts, (batch, i) => {
      const offset = batch.offsetAt(i);
      const length = batch.lengthAt(i);
      const idLength = flowIdLength(batch.bytes, offset, length);
      if (decodeVarint(batch.bytes, offset) !== 77) counts.drops.unknownFlow++;
      down.pushSlice(batch.bytes, offset + idLength, length - idLength, back);
    });
    const ingress = new Receiver(atOnce(clients.receiver), { sink: add, counts, ...BYTES_MAX });
    const egress = new Receiver(atOnce(tunnel.receiver), { sink: strip, counts, ...BYTES_MAX });
    const question = new SendBatch({ datagrams: count });
    const payload = new Uint8Array(100);
    const answers = new RecvBatch({ messages: count });
    let answered = 0;
    const op = () => {
      for (let i = 0; i < count; i++) question.push(payload);
      clients.sender.trySendBatch(question);
      ingress.run();
      egress.run();
      answered += clients.sender.tryRecvBatch(answers) as number;
    };
    expect(await allocates(op, CALLS)).toBe(false);
    expect(answered % count).toBe(0);
    expect(answered).toBeGreaterThanOrEqual(2 * CALLS * count);
    expect(counts).toEqual(newHalfCounts());
  },
  60_000,
);
