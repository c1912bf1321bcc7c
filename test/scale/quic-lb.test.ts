/** Connection IDs of QUIC-LB, with the vectors of draft-ietf-quic-load-balancers-21, appendix B. */

import { describe, expect, test } from "bun:test";
import {
  decodeServerId,
  encodeId,
  firstOctetOf,
  idBytesOf,
  type QuicLbConfig,
  rotationOf,
} from "../../examples/quiche/quic-lb.ts";

const KEY = Uint8Array.fromHex("8f95f09245765f80256934e50c66207f");
/** The key of the example in section 5.4.2.4. */
const EXAMPLE_KEY = Uint8Array.fromHex("fdf726a9893ec05c0632d3956680baf0");

/** Configuration number, server ID, nonce, connection ID, and the key if there is one. */
const VECTORS: readonly (readonly [number, string, string, string, Uint8Array?])[] = [
  [0, "c4605e", "4504cc4f", "07c4605e4504cc4f"],
  // The draft prints this ID and its nonce without some zeros.
  [1, "350d28b420", "3487d9700b", "2a350d28b4203487d9700b"],
  [0, "ed793a", "ee080dbf", "0720b1d07b359d3c", KEY],
  [1, "ed793a51d49b8f5fab65", "ee080dbf48", "2fcc381bc74cb4fbad2823a3d1f8fed2", KEY],
  [2, "ed793a51d49b8f5f", "ee080dbf48c0d1e5", "504dd2d05a7b0de9b2b9907afb5ecf8cc3", KEY],
  // The draft prints 12 as the first octet, which is that of configuration 0.
  [3, "ed793a51d49b8f5fab", "ee080dbf48c0d1e55d", "725779c9cc86beb3a3a4a3ca96fce4bfe0cdbc", KEY],
  [0, "31441a", "9c69c275", "0767947d29be054a", EXAMPLE_KEY],
];

describe("QUIC-LB connection IDs", () => {
  test.each(VECTORS)("vector: configuration %d, server %s, nonce %s", (...vector) => {
    const [rotation, serverId, nonce, id, key] = vector;
    const serverIdBytes = serverId.length / 2;
    const config = { rotation, serverIdBytes, nonceBytes: nonce.length / 2, key };
    const encoded = encodeId(config, Uint8Array.fromHex(serverId), Uint8Array.fromHex(nonce));
    expect(encoded.toHex()).toBe(id);
    expect(decodeServerId(config, Uint8Array.fromHex(id))?.toHex()).toBe(serverId);
    expect(rotationOf(encoded)).toBe(rotation);
  });

  test("of all lengths, with and without a key, return their server ID, also from a view", () => {
    for (let serverIdBytes = 1; serverIdBytes <= 15; serverIdBytes++) {
      for (let nonceBytes = 4; serverIdBytes + nonceBytes <= 19; nonceBytes++) {
        for (const key of [undefined, KEY]) {
          const config = { rotation: 6, serverIdBytes, nonceBytes, key };
          const serverId = crypto.getRandomValues(new Uint8Array(serverIdBytes));
          const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
          const id = encodeId(config, serverId, nonce);
          expect(id.length).toBe(idBytesOf(config));
          const memory = new Uint8Array(40);
          memory.set(id, 7);
          const view = memory.subarray(7, 7 + id.length);
          expect(decodeServerId(config, view)?.toHex()).toBe(serverId.toHex());
          expect(view.toHex()).toBe(id.toHex());
        }
      }
    }
  });

  test("of another configuration or length have no server ID", () => {
    const config = { rotation: 1, serverIdBytes: 2, nonceBytes: 6 };
    const id = encodeId(config, Uint8Array.of(1, 2), new Uint8Array(6));
    expect(firstOctetOf(config)).toBe(0x28);
    expect(decodeServerId({ ...config, rotation: 2 }, id)).toBeUndefined();
    expect(decodeServerId({ ...config, nonceBytes: 5 }, id)).toBeUndefined();
    for (let length = 0; length < id.length; length++) {
      expect(decodeServerId(config, id.subarray(0, length))).toBeUndefined();
    }
    expect(rotationOf(new Uint8Array())).toBeUndefined();
  });

  const valid: QuicLbConfig = { rotation: 0, serverIdBytes: 2, nonceBytes: 4 };
  test.each([
    [{ ...valid, rotation: 7 }, '"rotation" expected integer 0..6, got 7'],
    [{ ...valid, rotation: -1 }, '"rotation" expected integer 0..6, got -1'],
    [{ ...valid, serverIdBytes: 0 }, '"serverIdBytes" expected integer 1..15, got 0'],
    [{ ...valid, serverIdBytes: 16 }, '"serverIdBytes" expected integer 1..15, got 16'],
    [{ ...valid, nonceBytes: 3 }, '"nonceBytes" expected integer 4..17, got 3'],
    [{ ...valid, nonceBytes: 18 }, '"nonceBytes" expected integer 4..17, got 18'],
    [{ ...valid, key: new Uint8Array(15) }, '"key.length" expected integer 16..16, got 15'],
  ])("a configuration out of range is refused: %o", (config, message) => {
    const serverId = new Uint8Array(Math.max(0, config.serverIdBytes));
    const encode = () => encodeId(config, serverId, new Uint8Array(config.nonceBytes));
    expect(encode).toThrow(new RangeError(message));
  });

  test("a server ID or a nonce of another length is refused", () => {
    expect(() => encodeId(valid, new Uint8Array(3), new Uint8Array(4))).toThrow(RangeError);
    expect(() => encodeId(valid, new Uint8Array(2), new Uint8Array(5))).toThrow(RangeError);
  });
});
