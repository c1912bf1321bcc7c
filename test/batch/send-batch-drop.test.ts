/** `SendBatch.drop`: removes the first queued datagrams, such as one that is always refused. */

import { describe, expect, test } from "bun:test";
import {
  isMessageSizeError,
  RecvBatch,
  SendBatch,
  SocketAddress,
  type UdpSocket,
} from "../../lib/index.ts";
import { BACKENDS, connectedPair } from "../tools/sockets.ts";

function batchOf(...payloads: readonly string[]): SendBatch {
  const batch = new SendBatch({ datagrams: 4 });
  for (const payload of payloads) batch.push(Buffer.from(payload));
  return batch;
}

async function receivePayloads(socket: UdpSocket, count: number): Promise<string[]> {
  const batch = new RecvBatch();
  const payloads: string[] = [];
  while (payloads.length < count) {
    await socket.recvBatch(batch);
    for (let i = 0; i < batch.length; i++) payloads.push(Buffer.from(batch.payload(i)).toString());
  }
  return payloads;
}

describe.each(BACKENDS)("SendBatch.drop, %s backend", (backend) => {
  test("removes the first datagram, and the others are sent", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = batchOf("a", "b", "c").drop(1);
    expect(batch.length).toBe(2);
    await sender.sendBatch(batch);
    expect(await receivePayloads(receiver, 2)).toEqual(["b", "c"]);
    receiver.close();
    sender.close();
  });

  test("keeps a prefix whose payload is pushed later", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = batchOf("a", "b").prefix(Buffer.from("prefix of ")).drop(2);
    await sender.sendBatch(batch.push(Buffer.from("c")));
    expect(await receivePayloads(receiver, 1)).toEqual(["prefix of c"]);
    receiver.close();
    sender.close();
  });

  test("unblocks the datagram after one that is too long", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new SendBatch().push(new Uint8Array(65_508)).push(Buffer.from("b"));
    const error = await sender.sendBatch(batch).catch((thrown: unknown) => thrown);
    expect([isMessageSizeError(error), batch.length]).toEqual([true, 2]);
    expect(await sender.sendBatch(batch.drop(1))).toBe(1);
    expect(await receivePayloads(receiver, 1)).toEqual(["b"]);
    receiver.close();
    sender.close();
  });
});

test("SendBatch.drop of all datagrams makes room for the full capacity", () => {
  const batch = batchOf("a", "b", "c", "d");
  expect([batch.isFull, batch.drop(4).isFull, batch.length]).toEqual([true, false, 0]);
  for (let i = 0; i < 4; i++) batch.push(Buffer.from("e"));
  expect(batch.length).toBe(4);
});

test("SendBatch.drop(0) has no effect, and invalid counts throw", () => {
  const batch = batchOf("a", "b").drop(0);
  for (const count of [3, -1, 1.5, Number.NaN]) {
    expect(() => batch.drop(count)).toThrow(RangeError);
  }
  expect(() => batch.drop(undefined as unknown as number)).toThrow();
  expect(batch.length).toBe(2);
});

test("a batch from which more datagrams are removed than it has is empty", () => {
  const batch = batchOf("a", "bc", "d").drop(1);
  expect(batch._sent(5)).toBe(3);
  expect(batch.length).toBe(0);
  batch.push(Buffer.from("e"));
  expect([batch.length, Buffer.from(batch._firstBytes()).toString()]).toEqual([1, "e"]);
});

test("a batch whose destinations are removed has none for the datagrams that are left", () => {
  const to = SocketAddress.ip("192.0.2.1", 9);
  const batch = new SendBatch();
  for (let i = 0; i < 3; i++) batch.push(Buffer.from("a"), to);
  batch.drop(1);
  expect(batch._firstAddress).toBe(to);
  batch._clearAddresses();
  for (; batch.length > 0; batch.drop(1)) expect(batch._firstAddress).toBeUndefined();
});
