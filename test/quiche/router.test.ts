import { describe, expect, test } from "bun:test";
import { decodeServerId } from "../../examples/quiche/quic-lb.ts";
import { ID_BYTES, Router } from "../../examples/quiche/router.ts";

const shortPacket = (id: Uint8Array, length = 30) => {
  const packet = new Uint8Array(length);
  packet[0] = 0x40;
  packet.set(id, 1);
  return packet;
};

const longPacket = (id: Uint8Array, length = 1200) => {
  const packet = new Uint8Array(length);
  packet.set([0xc0, 0, 0, 0, 1, id.length]);
  packet.set(id, 6);
  return packet;
};

test("packets with both headers reach the connection of their ID, also those with high bits", () => {
  const router = new Router<string>();
  const ids = [
    new Uint8Array(ID_BYTES),
    new Uint8Array(ID_BYTES).fill(0xff),
    Uint8Array.of(0x80, 0, 0x80, 0, 0, 1),
    Uint8Array.of(0, 0, 0x80, 0, 0, 1),
    router.newId(),
  ];
  ids.forEach((id, i) => void router.add(id, `connection ${i}`));
  expect(router.size).toBe(ids.length);
  ids.forEach((id, i) => {
    expect(router.find(shortPacket(id))).toBe(`connection ${i}`);
    expect(router.find(longPacket(id))).toBe(`connection ${i}`);
  });
  for (const id of ids) router.delete(id);
  for (const id of ids) expect(router.find(shortPacket(id))).toBeUndefined();
  expect(router.size).toBe(0);
});

test("an ID that a client chose is found in long headers only, whatever its length", () => {
  const router = new Router<number>();
  for (let length = 8; length <= 20; length++) {
    router.addInitial(new Uint8Array(length).fill(length), length);
  }
  for (let length = 8; length <= 20; length++) {
    const id = new Uint8Array(length).fill(length);
    expect(router.find(longPacket(id))).toBe(length);
    expect(router.find(shortPacket(id))).toBeUndefined();
    router.delete(id);
  }
  expect(router.size).toBe(0);
});

test("a view with an offset is read at its offset", () => {
  const router = new Router<string>();
  const id = router.newId();
  router.add(id, "connection");
  const memory = new Uint8Array(100);
  memory.set(shortPacket(id), 50);
  expect(router.find(memory.subarray(50, 80))).toBe("connection");
  expect(router.find(memory.subarray(49, 80))).toBeUndefined();
});

test("truncated headers and lengths beyond the end belong to no connection", () => {
  const router = new Router<string>();
  router.add(new Uint8Array(ID_BYTES), "zeros");
  for (let length = 0; length <= ID_BYTES; length++) {
    const packet = new Uint8Array(length);
    packet[0] = 0x40;
    expect(router.find(packet)).toBeUndefined();
  }
  for (let idBytes = 0; idBytes <= 255; idBytes++) {
    const packet = Uint8Array.of(0xc0, 0, 0, 0, 1, idBytes, 0, 0, 0, 0, 0);
    expect(router.find(packet)).toBeUndefined();
  }
});

describe("with a server ID", () => {
  const serverId = Uint8Array.of(0x12, 0x34);
  const config = { rotation: 5, serverIdBytes: 2, nonceBytes: ID_BYTES };
  const newRouter = () => new Router<string>({ serverId, configRotation: 5 });

  test("the IDs contain it as in QUIC-LB, and packets with both headers find them", () => {
    const router = newRouter();
    const ids = Array.from({ length: 100 }, () => router.newId());
    expect(new Set(ids.map((id) => id.toHex())).size).toBe(100);
    ids.forEach((id, i) => void router.add(id, `connection ${i}`));
    ids.forEach((id, i) => {
      expect(id.length).toBe(router.idBytes);
      expect(decodeServerId(config, id)?.toHex()).toBe("1234");
      expect(router.find(shortPacket(id))).toBe(`connection ${i}`);
      expect(router.find(longPacket(id))).toBe(`connection ${i}`);
    });
    for (const id of ids) router.delete(id);
    expect(router.size).toBe(0);
  });

  test("an ID of another server or configuration belongs to no connection", () => {
    const router = newRouter();
    const id = router.newId();
    router.add(id, "connection");
    for (const i of [0, 1, 2]) {
      const other = id.slice();
      other[i] = (other[i] as number) ^ 0x20;
      expect(router.find(shortPacket(other))).toBeUndefined();
      expect(router.find(longPacket(other))).toBeUndefined();
      router.delete(other);
    }
    expect(router.find(shortPacket(id))).toBe("connection");
  });

  test("an ID of the same length that a client chose is found in long headers only", () => {
    const router = newRouter();
    const own = router.newId();
    const initial = own.slice();
    initial[own.length - 1] = (initial[own.length - 1] as number) ^ 1;
    router.add(own, "own");
    router.addInitial(initial, "initial");
    expect(router.find(longPacket(initial))).toBe("initial");
    expect(router.find(shortPacket(initial))).toBeUndefined();
    router.delete(initial);
    expect(router.find(longPacket(initial))).toBeUndefined();
    expect(router.find(longPacket(own))).toBe("own");
  });

  test("truncated headers belong to no connection", () => {
    const router = newRouter();
    const id = router.newId();
    router.add(id, "connection");
    for (let length = 0; length <= id.length; length++) {
      expect(router.find(shortPacket(id).subarray(0, length))).toBeUndefined();
    }
  });

  test.each([0, 14])("of %d bytes, it is refused", (length) => {
    expect(() => new Router({ serverId: new Uint8Array(length) })).toThrow(RangeError);
  });
});
