/** Tests of the proxy's flow table: maximum size, eviction, expiry. */

import { describe, expect, test } from "bun:test";
import {
  EVICTABLE_AFTER_MS,
  expiryIntervalMs,
  FlowEntry,
  FlowTable,
  PROTECTED_SHARE,
} from "../../examples/flow-proxy/flow-table.ts";
import { hostOf } from "../../examples/flow-proxy/host-flows.ts";
import { SocketAddress } from "../../lib/index.ts";

class Flow extends FlowEntry {
  readonly name: string;

  readonly host: string;

  constructor(name: string, host: string) {
    super();
    this.name = name;
    this.host = host;
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
    table.add(flow, host, nowMs);
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
    expect(table.counters).toEqual({
      opened: 3,
      expired: 0,
      evicted: 1,
      moved: 0,
      ended: 0,
      refused: 0,
    });
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

describe("a full flow table with flows of several hosts", () => {
  /** Fills a table of 16, whose protected share is 2, with flows in use of these hosts. */
  function tableWith(hosts: readonly string[]) {
    const result = tableOf(16);
    for (const [i, host] of hosts.entries()) result.add(`${host}${i}`, i, host);
    return result;
  }
  const of = (host: string, count: number) => new Array<string>(count).fill(host);
  const IDLE_MS = 20 + EVICTABLE_AFTER_MS;

  test("replaces the oldest flow of the host with the most, although another is idle for longer", () => {
    const { add, removed } = tableWith(["a", ...of("b", 6), ...of("c", 9)]);
    expect(add("new", IDLE_MS, "a")).toBeDefined();
    expect(removed).toEqual(["c7"]);
  });

  test("refuses a host with the most flows in use, and replaces its own once it is idle", () => {
    const { add, removed } = tableWith([...of("a", 7), ...of("b", 9)]);
    expect(add("new", 20, "b")).toBeUndefined();
    expect(add("new", IDLE_MS, "b")).toBeDefined();
    expect(removed).toEqual(["b7"]);
  });

  test("replaces flows in use of a host beyond its share, until both have as many", () => {
    const { add, removed } = tableWith(of("a", 16));
    for (let i = 0; i < 8; i++) expect(add(`${i}`, 20, "b")).toBeDefined();
    expect(add("8", 20, "b")).toBeUndefined();
    expect(removed).toEqual(["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"]);
  });

  test("does not replace flows in use of hosts within their share", () => {
    const { add, removed } = tableWith("aabbccddeeffgghh".split(""));
    expect(add("new", 20, "z")).toBeUndefined();
    expect(add("new", IDLE_MS, "z")).toBeDefined();
    expect(removed).toEqual(["a0"]);
  });
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["2001:db8::2:3:4:5", "2001:db8:0:0"],
  ["2001:db8:1::3:4:5:6", "2001:db8:1:0"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["2001:0:0:2::1", "2001:0:0:2"],
  ["::1:2:3:4:5:6", "0:0:1:2"],
  ["fe80::1%1", "fe80:0:0:0"],
  ["::1", "0:0:0:0"],
  ["::", "0:0:0:0"],
])("the host of %s is %s", (address, host) => {
  expect(hostOf(SocketAddress.ip(address, 9))).toBe(host);
});

/** Returns a function that returns pseudo-random integers from 0 to below its argument. */
function randomIntegers(): (below: number) => number {
  let random = 1;
  return (below) => {
    random = Math.imul(random, 1_664_525) + 1_013_904_223;
    return (random >>> 8) % below;
  };
}

test("a flow table and an array model agree after each of 20,000 random operations", () => {
  const { table, removed, add } = tableOf(10, 3000);
  let model: { flow: Flow; usedMs: number }[] = [];
  const expectedRemoved: string[] = [];
  let nowMs = 0;
  const nextRandom = randomIntegers();
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

test("20,000 random operations of several hosts evict and refuse flows by the rules only", () => {
  const flowsMax = 16;
  const { table, removed, add } = tableOf(flowsMax);
  const nextRandom = randomIntegers();
  /** From the least to the most recently used one. */
  let model: Flow[] = [];
  let nowMs = 0;
  const countOf = (host: string) => model.filter((flow) => flow.host === host).length;
  const isIdle = (flow: Flow) => nowMs - flow.lastUsedMs >= EVICTABLE_AFTER_MS;
  const seen = { idle: 0, inUse: 0, own: 0, refused: 0 };
  for (let step = 0; step < 20_000; step++) {
    nowMs += nextRandom(100);
    const picked = model[nextRandom(model.length || 1)];
    if (picked !== undefined && nextRandom(3) > 0) {
      table.touch(picked, nowMs);
      model = [...model.filter((flow) => flow !== picked), picked];
      continue;
    }
    // Some hosts open flows more often than others.
    const host = `host ${Math.min(nextRandom(8), nextRandom(8))}`;
    const own = countOf(host);
    const most = Math.max(0, ...model.map((flow) => countOf(flow.host)));
    const isUnfair = most > flowsMax * PROTECTED_SHARE && most > own + 1;
    const wasFull = table.size === flowsMax;
    const flow = add(`${step}`, nowMs, host);
    const [name] = removed.splice(0);
    const victim = model.find((each) => each.name === name);
    if (flow === undefined) {
      const [oldest] = model as [Flow];
      const hasIdle = model.some((each) => each.host === host && isIdle(each));
      const isReplaceable = isIdle(oldest) && countOf(oldest.host) > own;
      expect([wasFull, isUnfair, hasIdle, isReplaceable]).toEqual([true, false, false, false]);
      seen.refused++;
      continue;
    }
    expect(victim !== undefined).toBe(wasFull);
    if (victim !== undefined) {
      expect(model.find((each) => each.host === victim.host)).toBe(victim);
      if (isUnfair) expect(countOf(victim.host)).toBe(most);
      else
        expect([isIdle(victim), victim.host === host || countOf(victim.host) > own]).toEqual([
          true,
          true,
        ]);
      seen[victim.host === host ? "own" : isIdle(victim) ? "idle" : "inUse"]++;
    }
    model = [...model.filter((each) => each !== victim), flow];
    expect(table.size).toBe(model.length);
  }
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(0);
});
