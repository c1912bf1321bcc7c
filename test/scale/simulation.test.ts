/** The simulation of resizing, with fewer flows than in docs/scaling.md. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { maglevTable, mix, rendezvousTable } from "../../examples/scale/hashing.ts";
import {
  EVENTS,
  METHODS,
  type Method,
  simulate,
  simulateEvent,
  summarize,
} from "../../examples/scale/simulation.ts";

const OPTIONS = { flows: 100_000, hosts: 10 };

/** The share of the flows that moved although their host exists, in percent, by method. */
const EXPECTED = {
  "host added": { modulo: 90.9, resilient: 9.1, maglev: 9.3, tracked: 0, serverId: 0 },
  "host removed": { modulo: 80, resilient: 0, maglev: 0.2, tracked: 0, serverId: 0 },
  "host added, then a load balancer removed": {
    ...{ modulo: 90.9, resilient: 9.1, maglev: 9.3, tracked: 2.3, serverId: 0 },
  },
  "addresses changed": { modulo: 9, resilient: 9, maglev: 9, tracked: 9, serverId: 0 },
} as const satisfies Record<(typeof EVENTS)[number], Record<Method, number>>;

describe.each([...EVENTS])("event: %s", (event) => {
  test.each([...METHODS])("with %s, the expected share of the flows moves", (method) => {
    const { moved, orphaned, flows, imbalance } = simulateEvent(method, event, OPTIONS);
    const percent = (moved / flows) * 100;
    const expected = EXPECTED[event][method];
    if (expected === 0) expect(moved).toBe(0);
    else expect(Math.abs(percent - expected)).toBeLessThan(0.5);
    const orphans = event === "host removed" ? 0.1 : 0;
    expect(Math.abs(orphaned / flows - orphans)).toBeLessThan(0.005);
    expect(imbalance).toBeLessThan(1.2);
  });
});

test("the guide quotes the shares of this simulation", () => {
  const guide = readFileSync(join(import.meta.dir, "../../docs/scaling.md"), "utf8");
  const rows = [...guide.matchAll(/^\| (?:a host|one client) .+ \|$/gm)].map(([row]) =>
    [...row.matchAll(/([\d.]+) %/g)].map(([, percent]) => Number(percent)),
  );
  expect(rows.length).toBe(EVENTS.length);
  EVENTS.forEach((event, i) => {
    METHODS.forEach((method, j) => {
      const { moved, flows } = simulateEvent(method, event, OPTIONS);
      expect(Math.abs((rows[i]?.[j] ?? Number.NaN) - (moved / flows) * 100)).toBeLessThan(0.3);
    });
  });
});

test("the simulation returns the same in each run, for all methods and events", () => {
  const options = { flows: 2000, hosts: 3 };
  const outcomes = simulate(options);
  expect(outcomes.length).toBe(EVENTS.length * METHODS.length);
  expect(simulate(options)).toEqual(outcomes);
  expect(summarize(outcomes).length).toBe(EVENTS.length);
});

describe("tables", () => {
  const servers = [3, 7, 11, 12];

  /** Returns the number of slots of each server. */
  const sizes = (table: Uint16Array) =>
    servers.map((server) => table.filter((owner) => owner === server).length);

  test("Maglev gives each server the same number of slots, up to one", () => {
    const counts = sizes(maglevTable(servers, 1009));
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    expect(counts.reduce((sum, count) => sum + count)).toBe(1009);
  });

  test("rendezvous hashing moves only the slots of a removed server", () => {
    const before = rendezvousTable(servers, 256);
    const after = rendezvousTable([3, 7, 12], 256);
    before.forEach((server, slot) => {
      if (server !== 11) expect(after[slot]).toBe(server);
    });
    expect(after.includes(11)).toBe(false);
    expect(Math.min(...sizes(before))).toBeGreaterThan(256 / 8);
  });

  test("the hash is spread evenly, also of consecutive numbers", () => {
    const counts = new Uint32Array(16);
    for (let i = 0; i < 16_000; i++) (counts[mix(i) % 16] as number)++;
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1150);
  });
});
