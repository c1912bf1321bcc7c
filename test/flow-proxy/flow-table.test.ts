/** Tests of the proxy's flow table: maximum size, eviction, expiry. */

import { describe, expect, test } from "bun:test";
import {
  EVICTABLE_AFTER_MS,
  expiryIntervalMs,
  FlowEntry,
  FlowTable,
} from "../../examples/flow-proxy/flow-table.ts";

class Flow extends FlowEntry {
  readonly name: string;

  constructor(name: string, host: string) {
    super(host);
    this.name = name;
  }
}

function tableOf(flowsMax: number, idleTimeoutMs = 30_000) {
  const removed: string[] = [];
  const table = new FlowTable<Flow>({
    flowsMax,
    idleTimeoutMs,
    onRemove: (flow) => removed.push(flow.name),
  });
  const add = (name: string, nowMs: number, host = "host"): Flow | undefined => {
    if (!table.admit(host, nowMs)) return undefined;
    const flow = new Flow(name, host);
    table.add(flow, nowMs);
    return flow;
  };
  return { table, removed, add };
}

describe("a full flow table", () => {
  test("refuses a new flow while all flows are in use", () => {
    const { table, removed, add } = tableOf(2);
    add("a", 0);
    add("b", 0);
    expect(add("c", EVICTABLE_AFTER_MS - 1)).toBeUndefined();
    expect([table.size, removed, table.counters.refused]).toEqual([2, [], 1]);
  });

  test("replaces the least recently used flow once it has been idle for a second", () => {
    const { table, removed, add } = tableOf(2);
    const a = add("a", 0) as Flow;
    add("b", 10);
    table.touch(a, 20);
    expect(add("c", 10 + EVICTABLE_AFTER_MS)?.name).toBe("c");
    expect([table.size, removed]).toEqual([2, ["b"]]);
    expect(table.counters).toEqual({ opened: 3, expired: 0, evicted: 1, refused: 0 });
  });

  test("replaces a flow after the idle timeout if that is shorter than a second", () => {
    const { removed, add } = tableOf(1, 100);
    add("a", 0);
    expect(add("b", 99)).toBeUndefined();
    expect(add("b", 100)?.name).toBe("b");
    expect(removed).toEqual(["a"]);
  });

  test("admits a new flow after a flow was removed", () => {
    const { table, removed, add } = tableOf(1);
    table.remove(add("a", 0) as Flow);
    expect(add("b", 0)?.name).toBe("b");
    expect([table.size, removed, table.counters.evicted]).toEqual([1, ["a"], 0]);
  });
});

describe("flow expiry", () => {
  test("removes the flows that were idle for the timeout, and keeps the others", () => {
    const { table, removed, add } = tableOf(10, 100);
    const a = add("a", 0) as Flow;
    add("b", 0);
    add("c", 50);
    table.touch(a, 99);
    table.expire(99);
    expect(removed).toEqual([]);
    table.expire(100);
    expect(removed).toEqual(["b"]);
    table.expire(198);
    expect(removed).toEqual(["b", "c"]);
    table.expire(199);
    expect([table.size, removed, table.counters.expired]).toEqual([0, ["b", "c", "a"], 3]);
  });

  test("runs at an interval of a quarter of the timeout, limited to 10..1000 ms", () => {
    expect([1, 200, 30_000].map(expiryIntervalMs)).toEqual([10, 50, 1000]);
  });
});

test("a flow table and an array model agree after each of 20,000 random operations", () => {
  const { table, removed, add } = tableOf(10, 3000);
  let model: { flow: Flow; usedMs: number }[] = [];
  const expectedRemoved: string[] = [];
  let nowMs = 0;
  let random = 1;
  const nextRandom = (below: number) => {
    random = Math.imul(random, 1_664_525) + 1_013_904_223;
    return (random >>> 8) % below;
  };
  for (let step = 0; step < 20_000; step++) {
    nowMs += nextRandom(100);
    const picked = model[nextRandom(model.length || 1)];
    const operation = nextRandom(4);
    if (operation === 0) {
      const oldest = model[0];
      const flow = add(`${step}`, nowMs);
      if (
        model.length === 10 &&
        oldest !== undefined &&
        nowMs - oldest.usedMs >= EVICTABLE_AFTER_MS
      ) {
        expectedRemoved.push((model.shift() as { flow: Flow }).flow.name);
      }
      if (model.length < 10) model.push({ flow: flow as Flow, usedMs: nowMs });
      else expect(flow).toBeUndefined();
    } else if (operation === 1 && picked !== undefined) {
      table.touch(picked.flow, nowMs);
      model = [...model.filter((entry) => entry !== picked), { ...picked, usedMs: nowMs }];
    } else if (operation === 2 && picked !== undefined && nextRandom(5) === 0) {
      table.remove(picked.flow);
      model = model.filter((entry) => entry !== picked);
      expectedRemoved.push(picked.flow.name);
    } else if (operation === 3) {
      table.expire(nowMs);
      const kept = model.filter(({ usedMs }) => nowMs - usedMs < 3000);
      expectedRemoved.push(
        ...model.slice(0, model.length - kept.length).map(({ flow }) => flow.name),
      );
      model = kept;
    }
    expect(table.size).toBe(model.length);
  }
  table.clear();
  expect(removed).toEqual([...expectedRemoved, ...model.map(({ flow }) => flow.name)]);
  const { opened, expired, evicted, refused } = table.counters;
  expect(Math.min(opened, expired, evicted, refused)).toBeGreaterThan(0);
});
