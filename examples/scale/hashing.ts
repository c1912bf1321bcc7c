/** Hashes of flows, and the tables that load balancers make of them. */

/** Returns 32 bits that depend on all bits of `value` (the finalizer of MurmurHash3). */
export function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Returns a table with a server in each of `slots` slots: the one with the highest hash of slot and
 * server (rendezvous hashing). Without one of the servers, only its slots change. With another server,
 * only the slots that it gets change.
 */
export function rendezvousTable(servers: readonly number[], slots: number): Uint16Array {
  const table = new Uint16Array(slots);
  for (let slot = 0; slot < slots; slot++) {
    let best = -1;
    for (const server of servers) {
      const weight = mix(mix(slot) ^ mix(server + 0x9e3779b9));
      if (weight <= best) continue;
      best = weight;
      table[slot] = server;
    }
  }
  return table;
}

/**
 * Returns the lookup table of Maglev (Eisenbud et al., NSDI 2016, section 3.4): the servers take turns,
 * and each takes the next free slot of a permutation of its own. Their shares differ by one slot at
 * most, and a change of the servers moves few slots of the others. `slots` must be prime.
 */
export function maglevTable(servers: readonly number[], slots: number): Uint16Array {
  const table = new Uint16Array(slots);
  const isTaken = new Uint8Array(slots);
  const offsets = servers.map((server) => mix(server + 0x51ed270b) % slots);
  const skips = servers.map((server) => (mix(server + 0x2545f491) % (slots - 1)) + 1);
  const next = Float64Array.from(offsets);
  for (let taken = 0; taken < slots; ) {
    for (let i = 0; i < servers.length && taken < slots; i++) {
      const skip = skips[i] as number;
      let slot = next[i] as number;
      while (isTaken[slot] === 1) slot = (slot + skip) % slots;
      isTaken[slot] = 1;
      table[slot] = servers[i] as number;
      next[i] = (slot + skip) % slots;
      taken++;
    }
  }
  return table;
}
