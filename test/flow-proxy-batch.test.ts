/** How the proxy's batches leave and arrive when a socket is full, fails or is closed. */

import { describe, expect, test } from "bun:test";
import { BatchSender, newBuffer, Receiver, resetBuffer } from "../examples/flow-proxy/batch.ts";
import { newHalfCounts } from "../examples/flow-proxy/counts.ts";
import { Outbox } from "../examples/flow-proxy/outbox.ts";
import {
  type DatagramInfo,
  DatagramPair,
  DatagramSocket,
  DgramBuffer,
  type Payload,
  Pending,
  type Poll,
  SocketAddress,
  SocketError,
  type Target,
  type Waker,
} from "../lib/index.ts";

const TO = SocketAddress.ip("192.0.2.1", 53);

/** A socket that sends as far as it is told to: a number of datagrams, or an error, per call. */
class ScriptedSocket extends DatagramSocket {
  readonly sent: string[] = [];
  readonly starts: number[] = [];
  waker: Waker | null = null;
  script: (number | Error)[] = [];

  override pollSend(): Poll<number> {
    throw new Error("batches only");
  }

  override pollSendMany(
    waker: Waker | null,
    bufs: readonly Payload[],
    { start = 0, count = 0 }: { start?: number | undefined; count?: number | undefined } = {},
  ): Poll<number> {
    this.starts.push(start);
    const step = this.script.shift() ?? count;
    if (step instanceof Error) throw step;
    if (step === 0) {
      this.waker = waker;
      return Pending;
    }
    const sent = Math.min(step, count);
    for (let i = start; i < start + sent; i++) this.sent.push(text(bufs[i] as DgramBuffer));
    return sent;
  }

  // The receive half is in the tests below.
  pollRecvFrom(_waker: Waker | null, _buf: Target, _info: DatagramInfo): Poll<number> {
    return Pending;
  }
}

function text(buffer: DgramBuffer): string {
  return Buffer.from(buffer.asSlice()).toString();
}

function bufferOf(payload: string): DgramBuffer {
  return DgramBuffer.fromSlice(Buffer.from(payload));
}

function failure(code: string): SocketError {
  return new SocketError({ errno: 0, code, syscall: "sendmmsg" });
}

function senderOf(payloads: readonly string[], script: (number | Error)[]) {
  const socket = new ScriptedSocket();
  socket.script = script;
  const counts = newHalfCounts();
  const sender = new BatchSender(socket, counts);
  for (const payload of payloads) sender.add(bufferOf(payload), TO);
  return { socket, counts, sender };
}

describe("a batch on its way out", () => {
  test("goes on behind what a full socket took, once it is woken", () => {
    const { socket, counts, sender } = senderOf(["a", "b", "c"], [2, 0]);
    let woken = 0;
    expect(sender.flush(() => woken++)).toBe(false);
    expect([socket.sent, sender.count]).toEqual([["a", "b"], 1]);
    socket.waker?.();
    expect(sender.flush(() => woken++)).toBe(true);
    expect([socket.sent, sender.count, woken]).toEqual([["a", "b", "c"], 0, 1]);
    expect(counts).toEqual(newHalfCounts());
  });

  test("starts at the front again when it is out, so that its arrays stay as long as a batch", () => {
    const { socket, sender } = senderOf(["a", "b"], []);
    for (let i = 0; i < 3; i++) {
      expect(sender.flush(null)).toBe(true);
      sender.add(bufferOf("c"), TO);
    }
    expect(socket.starts).toEqual([0, 0, 0]);
  });

  test("loses nothing to an error about an earlier datagram", () => {
    const { socket, counts, sender } = senderOf(["a", "b"], [1, failure("ECONNREFUSED")]);
    expect(sender.flush(null)).toBe(true);
    expect([socket.sent, counts.socketErrors, counts.drops.failed]).toEqual([["a", "b"], 1, 0]);
  });

  test("loses the datagram that fails twice, and no other", () => {
    const refused = failure("EMSGSIZE");
    const script = [1, refused, refused, refused];
    const { socket, counts, sender } = senderOf(["a", "b", "c"], script);
    expect(sender.flush(null)).toBe(true);
    expect(socket.sent).toEqual(["a", "c"]);
    expect([counts.socketErrors, counts.drops.failed]).toEqual([3, 1]);
  });

  test("is given up on a closed socket, uncounted", () => {
    const { counts, sender } = senderOf(["a", "b"], [failure("ERR_SOCKET_CLOSED")]);
    expect(sender.flush(null)).toBe(true);
    expect([sender.count, counts]).toEqual([0, newHalfCounts()]);
  });

  test("lets errors through that are no socket's", () => {
    const { sender } = senderOf(["a"], [new TypeError("a mistake")]);
    expect(() => sender.flush(null)).toThrow("a mistake");
  });

  test("drops what is left when asked to, and says how many", () => {
    const { socket, sender } = senderOf(["a", "b", "c"], [1, 0]);
    expect([sender.flush(null), sender.dropRest(), sender.count]).toEqual([false, 2, 0]);
    sender.add(bufferOf("d"), TO);
    expect([sender.flush(null), socket.sent]).toEqual([true, ["a", "d"]]);
  });
});

describe("a receiver", () => {
  test("takes nothing more while what it took cannot be sent on", async () => {
    const [client, near] = DatagramPair.create();
    const [tunnel, far] = DatagramPair.create({ queueDatagrams: 3 });
    const counts = newHalfCounts();
    const sender = new BatchSender(tunnel, counts);
    const sink = {
      take: (buffer: DgramBuffer) => sender.add(buffer),
      flush: (waker: Waker) => sender.flush(waker),
    };
    new Receiver(near, { sink, counts, headroom: 16 }).run();
    const payloads = Array.from({ length: 200 }, (_, i) => `datagram ${i}`);
    const sending = client.sendMany(payloads.map((payload) => Buffer.from(payload)));
    const received: string[] = [];
    const buffer = Buffer.alloc(100);
    while (received.length < payloads.length) {
      received.push(buffer.toString("utf8", 0, await far.recv(buffer)));
    }
    expect(await sending).toBe(200);
    expect(received).toEqual(payloads);
    expect(counts).toEqual(newHalfCounts());
  });
});

describe("the outbox", () => {
  const nobody = () => {};

  function fill(outbox: Outbox, payloads: readonly string[]): void {
    const room = outbox.room(nobody);
    const start = room?.start as number;
    for (const [i, payload] of payloads.entries()) {
      outbox.buffers[start + i]?.putSlice(Buffer.from(payload));
    }
    outbox.commit(payloads.length, TO, (buffer) => text(buffer) !== "refused");
  }

  test("sends what all flows put in it in a turn as one batch, less what was refused", async () => {
    const socket = new ScriptedSocket();
    const outbox = new Outbox(socket, newHalfCounts());
    fill(outbox, ["a", "refused", "b"]);
    fill(outbox, ["refused"]);
    fill(outbox, ["c"]);
    expect(socket.sent).toEqual([]);
    await Promise.resolve();
    expect([socket.sent, socket.starts]).toEqual([["a", "b", "c"], [0]]);
  });

  test("has every flow wait when it is full, and wakes them when it is empty", async () => {
    const socket = new ScriptedSocket();
    const outbox = new Outbox(socket, newHalfCounts());
    socket.script = [0, 0];
    let filled = 0;
    while (outbox.room(nobody) !== undefined) fill(outbox, [`${filled++}`]);
    let woken = 0;
    expect(outbox.room(() => woken++)).toBeUndefined();
    expect([filled, socket.sent.length]).toEqual([256, 0]);
    socket.waker?.();
    expect([woken, socket.sent.length]).toEqual([1, 256]);
    expect(outbox.room(nobody)?.start).toBe(0);
    expect(new Set(outbox.buffers).size).toBe(256);
    expect(outbox.buffers.every(({ isEmpty, headroom }) => isEmpty && headroom === 16)).toBe(true);
  });
});

test("a buffer is as it was after a reset, whatever was done to it", () => {
  for (const headroom of [0, 16]) {
    const buffer = newBuffer(headroom);
    const fresh = [buffer.length, buffer.headroom, buffer.spareCapacity];
    buffer.putBytes(1, 1500);
    if (headroom > 0) buffer.tryAddVarintPrefix(2 ** 30);
    else buffer.advance(8);
    resetBuffer(buffer, headroom);
    expect([buffer.length, buffer.headroom, buffer.spareCapacity]).toEqual(fresh);
  }
});
