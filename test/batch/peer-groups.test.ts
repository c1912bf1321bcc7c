/** `groupByPeer`: the order in which the datagrams of a batch are sent. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { groupByPeer } from "../../lib/batch/peer-groups.ts";
import { SocketAddress } from "../../lib/index.ts";

const order = new Uint16Array(1024);
const peers = Array.from({ length: 600 }, (_, i) => SocketAddress.ip("10.0.0.1", 1000 + i));

/** Returns the order of the datagrams to peers with these numbers; absent if it is unchanged. */
function orderOf(numbers: readonly number[], start = 0): number[] | undefined {
  const addresses = numbers.map((number) => peers[number]);
  const groups = groupByPeer(addresses, start, addresses.length, order);
  return groups === 0 ? undefined : [...order.subarray(0, addresses.length - start)];
}

/** The expected order: peers by their first datagram, and each peer's datagrams in their order. */
function model(numbers: readonly number[], start: number): number[] {
  const groups = new Map<number, number[]>();
  for (let i = start; i < numbers.length; i++) {
    const group = groups.get(numbers[i] as number) ?? [];
    group.push(i);
    groups.set(numbers[i] as number, group);
  }
  return [...groups.values()].flat();
}

describe("groupByPeer", () => {
  test("groups interleaved peers, and keeps the order of each", () => {
    expect(orderOf([0, 1, 2, 0, 1, 2, 0, 1, 2])).toEqual([0, 3, 6, 1, 4, 7, 2, 5, 8]);
    expect(orderOf([9, 0, 1, 0, 1, 0, 1], 1)).toEqual([1, 3, 5, 2, 4, 6]);
  });

  test.each([
    { name: "no datagram", numbers: [] },
    { name: "one datagram", numbers: [0] },
    { name: "one peer", numbers: [0, 0, 0, 0] },
    { name: "a batch that is grouped already", numbers: [0, 0, 0, 1, 1, 2, 2, 2] },
    { name: "one datagram per peer", numbers: [0, 1, 2, 3, 4, 5] },
    { name: "less than two datagrams per peer", numbers: [0, 1, 2, 0, 3] },
    { name: "three peers of four datagrams", numbers: [0, 1, 2, 0] },
  ])("keeps $name as it is", ({ numbers }) => {
    expect(orderOf(numbers)).toBeUndefined();
  });

  test("regards equal addresses as one peer, whichever objects they are", () => {
    const fresh = (port: number) => SocketAddress.ip("10.0.0.1", port);
    const addresses = [fresh(1), fresh(2), fresh(1), fresh(2), undefined, fresh(1), undefined];
    expect(groupByPeer(addresses, 0, 7, order)).toBe(3);
    expect([...order.subarray(0, 7)]).toEqual([0, 2, 5, 1, 3, 4, 6]);
  });

  test("distinguishes peers whose hashes have the same slot, also the last one", () => {
    const LAST_SLOT = 2047;
    const colliding: SocketAddress[] = [];
    for (let port = 1; colliding.length < 3 && port < 2 ** 16; port++) {
      const address = SocketAddress.ip("10.0.0.2", port);
      if ((address._hash & LAST_SLOT) === LAST_SLOT) colliding.push(address);
    }
    const [a, b, c] = colliding;
    expect(c).toBeDefined();
    expect(groupByPeer([a, b, c, a, b, c], 0, 6, order)).toBe(3);
    expect([...order.subarray(0, 6)]).toEqual([0, 3, 1, 4, 2, 5]);
  });

  test("keeps no address alive", async () => {
    const references: WeakRef<SocketAddress>[] = [];
    const group = () => {
      const addresses = peers.slice(0, 100).map(({ port }) => SocketAddress.ip("10.0.0.3", port));
      for (const address of addresses) references.push(new WeakRef(address));
      expect(groupByPeer([...addresses, ...addresses], 0, 200, order)).toBe(100);
    };
    group();
    const countAlive = () => references.filter((one) => one.deref() !== undefined).length;
    // The stack may have stale references to some.
    const STALE_MAX = 6;
    for (let i = 0; i < 100 && countAlive() > STALE_MAX; i++) {
      await Bun.sleep(1);
      Bun.gc(true);
    }
    expect(countAlive()).toBeLessThanOrEqual(STALE_MAX);
  });

  test("is a stable permutation of random batches", () => {
    const batch = fc.integer({ min: 1, max: 600 }).chain((count) =>
      fc.record({
        numbers: fc.array(fc.nat(count - 1), { maxLength: 1024 }),
        start: fc.nat(5),
      }),
    );
    fc.assert(
      fc.property(batch, ({ numbers, start }) => {
        const first = Math.min(start, numbers.length);
        const grouped = orderOf(numbers, first);
        if (grouped !== undefined) expect(grouped).toEqual(model(numbers, first));
      }),
      { numRuns: 500 },
    );
  });
});
