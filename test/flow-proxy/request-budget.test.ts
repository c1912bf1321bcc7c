/** The budget of outstanding requests: clients take turns. */

import { expect, test } from "bun:test";
import { RequestBudget } from "../../examples/flow-proxy/request-budget.ts";

const microtasks = () => new Promise((resolve) => setImmediate(resolve));

test("takes up to the maximum, and again what was given back", () => {
  const budget = new RequestBudget(10);
  const wake = () => {};
  expect([budget.take(6, wake), budget.take(4, wake), budget.take(1, wake)]).toEqual([6, 4, 0]);
});

test("a client that got its turn waits behind the others for the next one", async () => {
  const budget = new RequestBudget(4);
  const turns: number[] = [];
  const wakers = [0, 1, 2].map((client) => () => {
    if (budget.take(4, wakers[client] as () => void) > 0) turns.push(client);
  });
  for (const wake of wakers) wake();
  for (let i = 0; i < 5; i++) {
    budget.give(4);
    // The client whose replies arrived asks at once, before the waiting ones are woken.
    wakers[turns.at(-1) as number]?.();
    await microtasks();
  }
  expect(turns).toEqual([0, 1, 2, 0, 1, 2]);
});

test("a waiter is woken once, as soon as there is enough for half of a burst", async () => {
  const budget = new RequestBudget(8);
  const granted: number[] = [];
  const wake = () => {
    granted.push(budget.take(8, wake));
  };
  expect([budget.take(8, wake), budget.take(8, wake), budget.take(8, wake)]).toEqual([8, 0, 0]);
  budget.give(3);
  await microtasks();
  expect(granted).toEqual([]);
  budget.give(2);
  await microtasks();
  expect(granted).toEqual([5]);
});
