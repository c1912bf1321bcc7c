/** The queue of waiting callers: its order, aborts at every position, and spurious wakes. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Waker } from "../../lib/index.ts";
import { nextTick } from "../tools/sockets.ts";
import { datagrams, listenerCount, ScriptedSocket, Settled } from "../traits/scripted-socket.ts";

const ONE = Uint8Array.of(1);

/** Receives one datagram and returns its first byte. */
async function recvByte(socket: ScriptedSocket, signal?: AbortSignal): Promise<number> {
  const buf = new Uint8Array(10);
  await socket.recv(buf, { signal });
  return buf[0] as number;
}

/** Creates a socket with a waiting receiver for each name. Each receiver has its own signal. */
function queueOf(...names: string[]) {
  const socket = new ScriptedSocket();
  const settled = new Settled();
  const controllers = names.map(() => new AbortController());
  for (const [index, name] of names.entries()) {
    settled.watch(name, recvByte(socket, controllers[index]?.signal));
  }
  return { socket, settled, controllers };
}

describe("concurrent callers", () => {
  test("are served in call order, one datagram each", async () => {
    const { socket, settled } = queueOf("a", "b", "c");
    for (const datagram of datagrams(1, 3)) {
      socket.arrive(datagram);
      await nextTick();
    }
    expect(settled.order).toEqual(["a 1", "b 2", "c 3"]);
  });

  test("are all served by one wake if there is a datagram for each", async () => {
    const { socket, settled } = queueOf("a", "b", "c");
    socket.arrive(...datagrams(1, 3));
    await nextTick();
    expect(settled.order).toEqual(["a 1", "b 2", "c 3"]);
  });

  test("of different methods wait in the same queue", async () => {
    const socket = new ScriptedSocket();
    const settled = new Settled();
    const bufs = Array.from({ length: 4 }, () => new Uint8Array(9));
    const [first, second, third, fourth] = bufs as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    settled.watch("recv", socket.recv(first));
    settled.watch("recvMany", socket.recvMany([second, third]));
    settled.watch("recvFrom", socket.recvFrom(fourth));
    socket.arrive(...datagrams(1, 4));
    await nextTick();
    expect(settled.order).toEqual(["recv 1", "recvMany 2", "recvFrom [object Object]"]);
    expect(bufs.map((buf) => buf[0])).toEqual([1, 2, 3, 4]);
  });

  test("in opposite directions do not wait for each other", async () => {
    const socket = new ScriptedSocket();
    const received = recvByte(socket);
    expect(await socket.send(ONE)).toBe(1);
    socket.sendPlan.push("full");
    const sent = socket.send(ONE);
    socket.arrive(ONE);
    expect(await received).toBe(1);
    socket.makeRoom();
    expect(await sent).toBe(1);
  });

  test("wait for earlier callers even if a datagram is available", async () => {
    const { socket, settled } = queueOf("a");
    // A datagram is available, but the waiting caller has not been woken.
    socket.arrived.push(Uint8Array.of(1));
    settled.watch("b", recvByte(socket));
    expect(socket.recvPolls).toBe(1);
    socket.arrive(Uint8Array.of(2));
    await nextTick();
    expect(settled.order).toEqual(["a 1", "b 2"]);
  });

  test("do not share an error: it rejects the first one only", async () => {
    const { socket, settled } = queueOf("a", "b", "c");
    socket.arrive(new Error("refused"), Uint8Array.of(2));
    await nextTick();
    expect(settled.order).toEqual(["a failed refused", "b 2"]);
    socket.arrive(Uint8Array.of(3));
    await nextTick();
    expect(settled.order.at(-1)).toBe("c 3");
  });
});

describe("an abort signal", () => {
  test("that is already aborted rejects the call before the first poll", async () => {
    const socket = new ScriptedSocket();
    const reason = new Error("too late");
    const signal = AbortSignal.abort(reason);
    socket.arrived.push(ONE);
    await expect(socket.recv(new Uint8Array(1), { signal })).rejects.toBe(reason);
    await expect(socket.send(ONE, { signal })).rejects.toBe(reason);
    await expect(socket.sendMany([ONE], { signal })).rejects.toBe(reason);
    expect([socket.recvPolls, socket.sendPolls, socket.sent]).toEqual([0, 0, []]);
  });

  test("without a reason rejects with an AbortError", async () => {
    const { settled, controllers } = queueOf("a");
    controllers[0]?.abort();
    await nextTick();
    expect(settled.order).toEqual(["a failed The operation was aborted."]);
  });

  test.each([
    [0, ["a failed gone", "b 1", "c 2"]],
    [1, ["b failed gone", "a 1", "c 2"]],
    [2, ["c failed gone", "a 1", "b 2"]],
  ])("removes the caller at index %i of three, and takes no datagram", async (index, order) => {
    const { socket, settled, controllers } = queueOf("a", "b", "c");
    controllers[index]?.abort(new Error("gone"));
    await nextTick();
    socket.arrive(...datagrams(1, 2));
    await nextTick();
    expect(settled.order).toEqual(order);
  });

  test("makes the next caller poll when it removes the first", async () => {
    const { socket, settled, controllers } = queueOf("a", "b");
    socket.arrived.push(Uint8Array.of(1));
    controllers[0]?.abort(new Error("gone"));
    await nextTick();
    expect(settled.order).toEqual(["a failed gone", "b 1"]);
  });

  test("shared by several callers removes all of them, and takes no datagram", async () => {
    const socket = new ScriptedSocket();
    const settled = new Settled();
    const controller = new AbortController();
    for (const name of ["a", "b"]) settled.watch(name, recvByte(socket, controller.signal));
    settled.watch("c", recvByte(socket));
    socket.arrived.push(Uint8Array.of(1));
    controller.abort(new Error("gone"));
    await nextTick();
    expect(settled.order).toEqual(["a failed gone", "b failed gone", "c 1"]);
  });

  test("has no effect after its caller has settled", async () => {
    const { socket, settled, controllers } = queueOf("a", "b");
    socket.arrive(Uint8Array.of(1));
    await nextTick();
    controllers[0]?.abort();
    socket.arrive(Uint8Array.of(2));
    await nextTick();
    expect(settled.order).toEqual(["a 1", "b 2"]);
  });

  test("has no listener left after a wait, however the wait ended", async () => {
    const { signal } = new AbortController();
    const other = new AbortController();
    const socket = new ScriptedSocket();
    const endings: Promise<unknown>[] = [];
    const wait = () => {
      endings.push(recvByte(socket, signal).catch(() => {}));
      expect(listenerCount(signal)).toBe(1);
    };
    wait();
    socket.arrive(ONE);
    expect(listenerCount(signal)).toBe(0);
    wait();
    socket.arrive(new Error("refused"));
    expect(listenerCount(signal)).toBe(0);
    // Served at once, so no listener is added.
    socket.arrived.push(ONE);
    endings.push(recvByte(socket, signal));
    expect(listenerCount(signal)).toBe(0);
    endings.push(recvByte(socket, other.signal).catch(() => {}));
    expect(listenerCount(other.signal)).toBe(1);
    other.abort();
    expect(listenerCount(other.signal)).toBe(0);
    await Promise.all(endings);
  });

  test("of another type rejects the call with an error that names the option", async () => {
    const signal = { aborted: false } as AbortSignal;
    await expect(new ScriptedSocket().recv(new Uint8Array(1), { signal })).rejects.toThrow(
      '"signal" expected AbortSignal, got an instance of Object',
    );
  });

  test("resolves sendMany with its count if it aborts between datagrams", async () => {
    const socket = new ScriptedSocket();
    const controller = new AbortController();
    socket.sendPlan.push("sent", "sent", "full");
    const sent = socket.sendMany(datagrams(1, 5), { signal: controller.signal });
    await nextTick();
    controller.abort(new Error("gone"));
    expect(await sent).toBe(2);
    socket.makeRoom();
    await nextTick();
    expect(socket.sent).toEqual([1, 2]);
  });

  test("rejects sendMany if it aborts before the first datagram", async () => {
    const socket = new ScriptedSocket();
    const controller = new AbortController();
    socket.sendPlan.push("full");
    const first = socket.sendMany(datagrams(1, 2), { signal: controller.signal });
    const second = socket.sendMany(datagrams(3, 2), { signal: controller.signal });
    controller.abort(new Error("gone"));
    await expect(first).rejects.toThrow("gone");
    await expect(second).rejects.toThrow("gone");
    expect(socket.sent).toEqual([]);
  });
});

describe("spurious wakes", () => {
  test("have no effect, whether a caller waits or not", async () => {
    const { socket, settled } = queueOf("a");
    const waker = socket.recvWaker as Waker;
    waker();
    waker();
    expect(socket.recvPolls).toBe(3);
    socket.arrive(ONE);
    await nextTick();
    waker();
    socket.arrived.push(Uint8Array.of(2));
    waker();
    await nextTick();
    expect(settled.order).toEqual(["a 1"]);
    expect(await recvByte(socket)).toBe(2);
  });
});

/** The expected results of receives, aborts and arrivals, computed with plain arrays. */
class ModelQueue {
  readonly waiting: number[] = [];
  readonly arrived: number[] = [];
  readonly settled: string[] = [];

  serve(): void {
    while (this.waiting.length > 0 && this.arrived.length > 0) {
      this.settled.push(`${this.waiting.shift()} ${this.arrived.shift()}`);
    }
  }
}

test("any sequence of receives, aborts, arrivals and wakes acts as on a plain array", async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ do: "recv" as const, caller: 0 }) },
    { weight: 3, arbitrary: fc.constant({ do: "arrive" as const, caller: 0 }) },
    { weight: 2, arbitrary: fc.nat(30).map((caller) => ({ do: "abort" as const, caller })) },
    { weight: 1, arbitrary: fc.constant({ do: "wake" as const, caller: 0 }) },
  );
  const steps = fc.array(step, { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const socket = new ScriptedSocket();
      const settled = new Settled();
      const model = new ModelQueue();
      const controllers: AbortController[] = [];
      let arrivals = 0;
      for (const { do: action, caller } of sequence) {
        if (action === "recv") {
          const controller = new AbortController();
          const name = `${controllers.push(controller) - 1}`;
          settled.watch(name, recvByte(socket, controller.signal));
          model.waiting.push(Number(name));
        } else if (action === "arrive") {
          socket.arrive(Uint8Array.of(++arrivals));
          model.arrived.push(arrivals);
        } else if (action === "wake") {
          socket.recvWaker?.();
        } else {
          controllers[caller]?.abort(new Error("gone"));
          const index = model.waiting.indexOf(caller);
          if (index !== -1) model.waiting.splice(index, 1);
          if (index !== -1) model.settled.push(`${caller} failed gone`);
        }
        model.serve();
      }
      await nextTick();
      expect(settled.order).toEqual(model.settled);
      const left = controllers.map((controller) => listenerCount(controller.signal));
      expect(left.reduce((sum, count) => sum + count, 0)).toBe(model.waiting.length);
    }),
    { numRuns: 500 },
  );
});
