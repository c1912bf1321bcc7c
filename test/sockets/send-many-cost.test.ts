/** The work of `sendMany` grows with the number of datagrams, not with its square. */

import { describe, expect, test } from "bun:test";
import { type Payload, UdpSocket } from "../../lib/index.ts";
import { BACKENDS } from "../tools/sockets.ts";

/** Returns an array that counts how often its elements are read. */
function countingArray(count: number): { readonly array: Payload[]; readonly reads: () => number } {
  let reads = 0;
  const array = new Proxy(new Array<Payload>(count).fill(new Uint8Array(1)), {
    get(target, key, receiver) {
      if (key !== "length") reads++;
      return Reflect.get(target, key, receiver);
    },
  });
  return { array, reads: () => reads };
}

describe.each(BACKENDS)("%s backend", (backend) => {
  test.each([2_000, 20_000])("sendMany of %i datagrams reads each a few times", async (count) => {
    const receiver = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const sender = await UdpSocket.bind({ hostname: "127.0.0.1", backend });
    const { array, reads } = countingArray(count);
    expect(await sender.sendMany(array, { to: receiver.localAddr })).toBe(count);
    expect(reads()).toBeLessThan(4 * count);
    sender.close();
    receiver.close();
  });
});
