/** Giving up the first of the datagrams that wait in a batch, such as one that is never taken. */

import { describe, expect, test } from "bun:test";
import { isMessageSizeError, RecvBatch, SendBatch, type UdpSocket } from "../../lib/index.ts";
import { BACKENDS, connectedPair } from "../tools/sockets.ts";

function batchOf(...payloads: readonly string[]): SendBatch {
  const batch = new SendBatch({ datagrams: 4 });
  for (const payload of payloads) batch.push(Buffer.from(payload));
  return batch;
}

async function received(socket: UdpSocket, count: number): Promise<string[]> {
  const batch = new RecvBatch();
  const payloads: string[] = [];
  while (payloads.length < count) {
    await socket.recvBatch(batch);
    for (let i = 0; i < batch.length; i++) payloads.push(Buffer.from(batch.payload(i)).toString());
  }
  return payloads;
}

describe.each(BACKENDS)("dropping, on the %s backend", (backend) => {
  test("gives up the first of those that wait, and no others", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = batchOf("a", "b", "c").drop(1);
    expect(batch.length).toBe(2);
    await sender.sendBatch(batch);
    expect(await received(receiver, 2)).toEqual(["b", "c"]);
    receiver.close();
    sender.close();
  });

  test("leaves a prefix that waits for its payload where it is", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = batchOf("a", "b").prefix(Buffer.from("prefix of ")).drop(2);
    await sender.sendBatch(batch.push(Buffer.from("c")));
    expect(await received(receiver, 1)).toEqual(["prefix of c"]);
    receiver.close();
    sender.close();
  });

  test("of a datagram that is too long lets those behind it go", async () => {
    const { receiver, sender } = await connectedPair(backend);
    const batch = new SendBatch().push(new Uint8Array(65_508)).push(Buffer.from("b"));
    const error = await sender.sendBatch(batch).catch((thrown: unknown) => thrown);
    expect([isMessageSizeError(error), batch.length]).toEqual([true, 2]);
    expect(await sender.sendBatch(batch.drop(1))).toBe(1);
    expect(await received(receiver, 1)).toEqual(["b"]);
    receiver.close();
    sender.close();
  });
});

test("dropping all makes room for as many as ever", () => {
  const batch = batchOf("a", "b", "c", "d");
  expect([batch.isFull, batch.drop(4).isFull, batch.length]).toEqual([true, false, 0]);
  for (let i = 0; i < 4; i++) batch.push(Buffer.from("e"));
  expect(batch.length).toBe(4);
});

test("dropping none changes nothing; more than wait, or no count, is a misuse", () => {
  const batch = batchOf("a", "b").drop(0);
  for (const count of [3, -1, 1.5, Number.NaN]) {
    expect(() => batch.drop(count)).toThrow(RangeError);
  }
  expect(() => batch.drop(undefined as unknown as number)).toThrow();
  expect(batch.length).toBe(2);
});
