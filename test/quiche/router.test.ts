import { expect, test } from "bun:test";
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
