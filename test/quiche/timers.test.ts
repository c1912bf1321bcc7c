import { expect, test } from "bun:test";
import { DeadlineQueue, type Timed } from "../../examples/quiche/timers.ts";

interface Item extends Timed {
  readonly name: number;
}

const item = (name: number): Item => ({ name, deadlineMs: 0, queueIndex: -1 });

/** A queue that collects the names of due items, and resolves when it has `count`. */
function collect(count: number) {
  const due: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  let rounds = 0;
  const queue = new DeadlineQueue<Item>(
    ({ name }) => void due.push(name),
    () => {
      rounds++;
      if (due.length >= count) resolve();
    },
  );
  return { queue, due, done: promise, rounds: () => rounds };
}

test("items become due in the order of their deadlines, whatever the order of set", async () => {
  const { queue, due, done } = collect(50);
  const now = performance.now();
  const names = Array.from({ length: 50 }, (_, i) => (i * 37) % 50);
  for (const name of names) queue.set(item(name), now + name / 10);
  await done;
  expect(due).toEqual(names.toSorted((a, b) => a - b));
  expect(queue.size).toBe(0);
});

test("a deadline that is changed counts once, at its new time", async () => {
  const { queue, due, done } = collect(3);
  const now = performance.now();
  const [first, second, third] = [item(1), item(2), item(3)];
  queue.set(first, now + 1);
  queue.set(second, now + 2);
  queue.set(third, now + 3);
  queue.set(first, now + 4);
  queue.set(third, now);
  expect(queue.size).toBe(3);
  await done;
  expect(due).toEqual([3, 2, 1]);
});

test("a deleted item does not become due, and can be set again", async () => {
  const { queue, due, done } = collect(2);
  const items = [item(0), item(1), item(2)] as const;
  const now = performance.now();
  for (const each of items) queue.set(each, now + each.name);
  queue.delete(items[0]);
  queue.delete(items[0]);
  expect([queue.size, items[0].queueIndex]).toEqual([2, -1]);
  await done;
  expect(due).toEqual([1, 2]);
  queue.set(items[0], performance.now());
  await new Promise((resolve) => setTimeout(resolve, 2));
  expect(due).toEqual([1, 2, 0]);
});

test("random changes: the queue returns what a sorted list does", () => {
  let nowMs = 0;
  let state = 12_345;
  const random = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state % limit;
  };
  const queue = new DeadlineQueue<Item>(
    () => {},
    () => {},
  );
  const items = Array.from({ length: 40 }, (_, i) => item(i));
  const model = new Map<Item, number>();
  for (let step = 0; step < 2000; step++) {
    const chosen = items[random(items.length)] as Item;
    if (random(3) === 0) {
      queue.delete(chosen);
      model.delete(chosen);
    } else {
      nowMs = performance.now() + 1e6 + random(1000);
      queue.set(chosen, nowMs);
      model.set(chosen, nowMs);
    }
    expect(queue.size).toBe(model.size);
    expect(queue.earliestMs).toBe(Math.min(...model.values()));
  }
  queue.clear();
  expect([queue.size, queue.earliestMs]).toEqual([0, Number.POSITIVE_INFINITY]);
});
