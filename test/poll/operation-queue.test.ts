/** The line in which callers wait: its order, aborts at every place of it, wakes without need. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Waker } from "../../lib/index.ts";
import { nextTurn } from "../tools/sockets.ts";
import { BaseSocket, datagrams, listenerCount, Settled } from "../traits/base-socket.ts";

const ONE = Uint8Array.of(1);

/** Receives one datagram and answers its first byte. */
async function recvByte(socket: BaseSocket, signal?: AbortSignal): Promise<number> {
  const buf = new Uint8Array(10);
  await socket.recv(buf, { signal });
  return buf[0] as number;
}

/** A socket with `names.length` receivers in line, each with a signal of its own. */
function lineOf(...names: string[]) {
  const socket = new BaseSocket();
  const settled = new Settled();
  const controllers = names.map(() => new AbortController());
  for (const [index, name] of names.entries()) {
    settled.watch(name, recvByte(socket, controllers[index]?.signal));
  }
  return { socket, settled, controllers };
}

describe("concurrent callers", () => {
  test("are served in the order in which they came, one datagram each", async () => {
    const { socket, settled } = lineOf("a", "b", "c");
    for (const datagram of datagrams(1, 3)) {
      socket.arrive(datagram);
      await nextTurn();
    }
    expect(settled.order).toEqual(["a 1", "b 2", "c 3"]);
  });

  test("are all served by one wake when there is enough for all", async () => {
    const { socket, settled } = lineOf("a", "b", "c");
    socket.arrive(...datagrams(1, 3));
    await nextTurn();
    expect(settled.order).toEqual(["a 1", "b 2", "c 3"]);
  });

  test("of different methods stand in one line", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    const bufs = Array.from({ length: 4 }, () => new Uint8Array(9));
    const [first, second, third, fourth] = bufs as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    settled.watch("recv", socket.recv(first));
    settled.watch("recvMany", socket.recvMany([second, third]));
    settled.watch("recvFrom", socket.recvFrom(fourth));
    socket.arrive(...datagrams(1, 4));
    await nextTurn();
    expect(settled.order).toEqual(["recv 1", "recvMany 2", "recvFrom [object Object]"]);
    expect(bufs.map((buf) => buf[0])).toEqual([1, 2, 3, 4]);
  });

  test("of the two directions do not wait for each other", async () => {
    const socket = new BaseSocket();
    const received = recvByte(socket);
    expect(await socket.send(ONE)).toBe(1);
    socket.sendPlan.push("full");
    const sent = socket.send(ONE);
    socket.arrive(ONE);
    expect(await received).toBe(1);
    socket.makeRoom();
    expect(await sent).toBe(1);
  });

  test("wait behind the others even when there would be something for them now", async () => {
    const { socket, settled } = lineOf("a");
    // It arrives, and whoever waits is not told yet.
    socket.arrived.push(Uint8Array.of(1));
    settled.watch("b", recvByte(socket));
    expect(socket.recvPolls).toBe(1);
    socket.arrive(Uint8Array.of(2));
    await nextTurn();
    expect(settled.order).toEqual(["a 1", "b 2"]);
  });

  test("an error settles the one at the head alone", async () => {
    const { socket, settled } = lineOf("a", "b", "c");
    socket.arrive(new Error("refused"), Uint8Array.of(2));
    await nextTurn();
    expect(settled.order).toEqual(["a failed refused", "b 2"]);
    socket.arrive(Uint8Array.of(3));
    await nextTurn();
    expect(settled.order.at(-1)).toBe("c 3");
  });
});

describe("a signal", () => {
  test("that is aborted already rejects with its reason, and nothing is polled", async () => {
    const socket = new BaseSocket();
    const reason = new Error("too late");
    const signal = AbortSignal.abort(reason);
    socket.arrived.push(ONE);
    await expect(socket.recv(new Uint8Array(1), { signal })).rejects.toBe(reason);
    await expect(socket.send(ONE, { signal })).rejects.toBe(reason);
    await expect(socket.sendMany([ONE], { signal })).rejects.toBe(reason);
    expect([socket.recvPolls, socket.sendPolls, socket.sent]).toEqual([0, 0, []]);
  });

  test("whose reason is the default rejects with an AbortError", async () => {
    const { settled, controllers } = lineOf("a");
    controllers[0]?.abort();
    await nextTurn();
    expect(settled.order).toEqual(["a failed The operation was aborted."]);
  });

  test.each([
    [0, ["a failed gone", "b 1", "c 2"]],
    [1, ["b failed gone", "a 1", "c 2"]],
    [2, ["c failed gone", "a 1", "b 2"]],
  ])("takes number %i out of three in line, and no datagram with it", async (place, order) => {
    const { socket, settled, controllers } = lineOf("a", "b", "c");
    controllers[place]?.abort(new Error("gone"));
    await nextTurn();
    socket.arrive(...datagrams(1, 2));
    await nextTurn();
    expect(settled.order).toEqual(order);
  });

  test("that takes the head out lets the next one poll", async () => {
    const { socket, settled, controllers } = lineOf("a", "b");
    socket.arrived.push(Uint8Array.of(1));
    controllers[0]?.abort(new Error("gone"));
    await nextTurn();
    expect(settled.order).toEqual(["a failed gone", "b 1"]);
  });

  test("of several callers takes all of them out, and no datagram with them", async () => {
    const socket = new BaseSocket();
    const settled = new Settled();
    const controller = new AbortController();
    for (const name of ["a", "b"]) settled.watch(name, recvByte(socket, controller.signal));
    settled.watch("c", recvByte(socket));
    socket.arrived.push(Uint8Array.of(1));
    controller.abort(new Error("gone"));
    await nextTurn();
    expect(settled.order).toEqual(["a failed gone", "b failed gone", "c 1"]);
  });

  test("that aborts when all is settled changes nothing", async () => {
    const { socket, settled, controllers } = lineOf("a", "b");
    socket.arrive(Uint8Array.of(1));
    await nextTurn();
    controllers[0]?.abort();
    socket.arrive(Uint8Array.of(2));
    await nextTurn();
    expect(settled.order).toEqual(["a 1", "b 2"]);
  });

  test("has no listener left, however the wait ended", async () => {
    const { signal } = new AbortController();
    const other = new AbortController();
    const socket = new BaseSocket();
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
    // Served at once: there never was one.
    socket.arrived.push(ONE);
    endings.push(recvByte(socket, signal));
    expect(listenerCount(signal)).toBe(0);
    endings.push(recvByte(socket, other.signal).catch(() => {}));
    expect(listenerCount(other.signal)).toBe(1);
    other.abort();
    expect(listenerCount(other.signal)).toBe(0);
    await Promise.all(endings);
  });

  test("that is no AbortSignal is refused by name", async () => {
    const signal = { aborted: false } as AbortSignal;
    await expect(new BaseSocket().recv(new Uint8Array(1), { signal })).rejects.toThrow(
      '"signal" expected AbortSignal, got an instance of Object',
    );
  });

  test("that aborts sendMany between its datagrams resolves with how many went", async () => {
    const socket = new BaseSocket();
    const controller = new AbortController();
    socket.sendPlan.push("sent", "sent", "full");
    const sent = socket.sendMany(datagrams(1, 5), { signal: controller.signal });
    await nextTurn();
    controller.abort(new Error("gone"));
    expect(await sent).toBe(2);
    socket.makeRoom();
    await nextTurn();
    expect(socket.sent).toEqual([1, 2]);
  });

  test("that aborts sendMany before its first datagram rejects", async () => {
    const socket = new BaseSocket();
    const controller = new AbortController();
    socket.sendPlan.push("full");
    const first = socket.sendMany(datagrams(1, 2), { signal: controller.signal });
    const behind = socket.sendMany(datagrams(3, 2), { signal: controller.signal });
    controller.abort(new Error("gone"));
    await expect(first).rejects.toThrow("gone");
    await expect(behind).rejects.toThrow("gone");
    expect(socket.sent).toEqual([]);
  });
});

describe("wakes", () => {
  test("without need do no harm: nobody waits, or there is nothing", async () => {
    const { socket, settled } = lineOf("a");
    const waker = socket.recvWaker as Waker;
    waker();
    waker();
    expect(socket.recvPolls).toBe(3);
    socket.arrive(ONE);
    await nextTurn();
    waker();
    socket.arrived.push(Uint8Array.of(2));
    waker();
    await nextTurn();
    expect(settled.order).toEqual(["a 1"]);
    expect(await recvByte(socket)).toBe(2);
  });
});

/** What callers, aborts and arrivals come to when the line is a plain array. */
class ModelLine {
  readonly waiting: number[] = [];
  readonly arrived: number[] = [];
  readonly settled: string[] = [];

  serve(): void {
    while (this.waiting.length > 0 && this.arrived.length > 0) {
      this.settled.push(`${this.waiting.shift()} ${this.arrived.shift()}`);
    }
  }
}

test("any sequence of receives, aborts, arrivals and idle wakes agrees with an array", async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ do: "recv" as const, who: 0 }) },
    { weight: 3, arbitrary: fc.constant({ do: "arrive" as const, who: 0 }) },
    { weight: 2, arbitrary: fc.nat(30).map((who) => ({ do: "abort" as const, who })) },
    { weight: 1, arbitrary: fc.constant({ do: "wake" as const, who: 0 }) },
  );
  const steps = fc.array(step, { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const socket = new BaseSocket();
      const settled = new Settled();
      const model = new ModelLine();
      const controllers: AbortController[] = [];
      let arrivals = 0;
      for (const { do: what, who } of sequence) {
        if (what === "recv") {
          const controller = new AbortController();
          const name = `${controllers.push(controller) - 1}`;
          settled.watch(name, recvByte(socket, controller.signal));
          model.waiting.push(Number(name));
        } else if (what === "arrive") {
          socket.arrive(Uint8Array.of(++arrivals));
          model.arrived.push(arrivals);
        } else if (what === "wake") {
          socket.recvWaker?.();
        } else {
          controllers[who]?.abort(new Error("gone"));
          const place = model.waiting.indexOf(who);
          if (place !== -1) model.waiting.splice(place, 1);
          if (place !== -1) model.settled.push(`${who} failed gone`);
        }
        model.serve();
      }
      await nextTurn();
      expect(settled.order).toEqual(model.settled);
      const left = controllers.map((controller) => listenerCount(controller.signal));
      expect(left.reduce((sum, count) => sum + count, 0)).toBe(model.waiting.length);
    }),
    { numRuns: 500 },
  );
});
