/** `RecvMeta`, the metadata of a received datagram. */

import { describe, expect, test } from "bun:test";
import { checkRecvMeta } from "../../lib/datagram/recv-meta.ts";
import { RecvMeta, SocketAddress } from "../../lib/index.ts";

describe("RecvMeta", () => {
  test("initially describes an empty datagram without a peer", () => {
    const meta = new RecvMeta();
    expect([meta.length, meta.datagramLength, meta.peer, meta.truncated]).toEqual([
      0,
      0,
      undefined,
      false,
    ]);
  });

  test("is truncated if the datagram was longer than the stored bytes", () => {
    const meta = new RecvMeta();
    meta._set(10, 10, undefined);
    expect(meta.truncated).toBe(false);
    meta._set(10, 11, undefined);
    expect(meta.truncated).toBe(true);
    meta._set(0, 1, undefined);
    expect(meta.truncated).toBe(true);
  });

  test("keeps nothing of the previous datagram", () => {
    const meta = new RecvMeta();
    meta._set(10, 20, SocketAddress.ip("192.0.2.1", 53));
    meta._set(0, 0, undefined);
    expect([meta.length, meta.datagramLength, meta.peer]).toEqual([0, 0, undefined]);
  });

  test("is the only type that checkRecvMeta accepts", () => {
    expect(() => checkRecvMeta("meta", new RecvMeta())).not.toThrow();
    for (const value of [undefined, null, {}, { length: 0, datagramLength: 0, peer: undefined }]) {
      expect(() => checkRecvMeta("meta", value)).toThrow(TypeError);
    }
  });
});
