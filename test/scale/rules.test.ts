/** The rules of the load balancers. Their effect on packets is tested in machines.test.ts. */

import { expect, test } from "bun:test";
import { balancerRules, hashingRules } from "../../examples/scale/machines/rules.ts";
import { balancerConfig } from "../../examples/scale/machines/service.ts";

/** Returns the marks of the maps of hash slots in rules: for UDP and others, in each IP version. */
function slotMaps(rules: string): number[][] {
  const maps = [...rules.matchAll(/ map \{ (0 : [^}]+) \}/g)].map(([, map]) => map as string);
  return maps.map((map) => map.split(", ").map((entry) => Number(entry.split(" : ")[1])));
}

test("packets with a server ID are marked with its host, at the offsets of both headers", () => {
  const rules = balancerRules(balancerConfig([1, 2, 300]));
  const map = "{ 0x1 : 1, 0x2 : 2, 0x12c : 300 }";
  // 64 bits of the UDP header, then one byte of flags, or six bytes up to the connection ID.
  expect(rules).toContain(`@th,64,1 0 @th,72,8 0x8 meta mark set @th,80,16 map ${map}`);
  const long = `@th,64,1 1 @th,104,8 9 @th,112,8 0x8 meta mark set @th,120,16 map ${map}`;
  expect(rules).toContain(long);
  expect(rules).toContain(`@th,64,8 0xc7 meta mark set @th,72,16 map ${map}`);
});

test("packets without a server ID are spread over the hosts that get new connections", () => {
  const maps = slotMaps(balancerRules(balancerConfig([1, 2, 3], [1, 3])));
  expect(maps.length).toBe(4);
  for (const map of maps) {
    expect(map.length).toBe(256);
    expect(new Set(map)).toEqual(new Set([1, 3]));
  }
});

test("draining a host changes only the slots that it had", () => {
  const [before = []] = slotMaps(balancerRules(balancerConfig([1, 2, 3])));
  const [after = []] = slotMaps(balancerRules(balancerConfig([1, 2, 3], [1, 3])));
  expect(before.filter((host) => host === 2).length).toBeGreaterThan(50);
  before.forEach((host, slot) => {
    if (host !== 2) expect(after[slot]).toBe(host);
  });
});

test("both kinds of rules replace the table in one transaction", () => {
  for (const rules of [balancerRules, hashingRules]) {
    const [first, second, third] = rules(balancerConfig([1, 2])).split("\n");
    expect([first, second]).toEqual(["table inet balancer", "delete table inet balancer"]);
    expect(third).toBe("table inet balancer {");
  }
  expect(slotMaps(hashingRules(balancerConfig([4, 5])))).toEqual([
    [4, 5],
    [4, 5],
  ]);
});
