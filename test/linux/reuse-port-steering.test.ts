/** `setReusePortSteering`: real sockets of a group get the datagrams that a model says. */

import { describe, expect, test } from "bun:test";
import { release } from "node:os";
import { type ReusePortSteering, UdpSocket, UnixDatagram } from "../../lib/index.ts";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { expectedIndex, Group, openClients, placements } from "../tools/reuse-port.ts";
import { HAS_IPV6, sequence, thrown } from "../tools/sockets.ts";

const CLIENTS = 24;
const IPV4 = { hostname: "127.0.0.1" } as const;

/** Addresses of this host that a client can move to. */
const ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.3.4.5", "127.200.0.9"];

/** Linux 6.13 is the first version that takes a connected socket out of its group. */
const [major, minor] = release().split(".").map(Number) as [number, number];
const LEAVES_GROUP = major > 6 || (major === 6 && minor >= 13);
if (!LEAVES_GROUP) console.warn("a test of leaveReusePort is skipped: Linux 6.13 expected");

/** Returns `count` payloads of random bytes. */
function randomPayloads(count: number, bytes: number): Uint8Array[] {
  return sequence(count).map(() => crypto.getRandomValues(new Uint8Array(bytes)));
}

/** Returns a payload that starts with a flow ID of four bytes. */
function flowPayload(flow: number, bytes = 4): Uint8Array {
  const payload = new Uint8Array(bytes);
  new DataView(payload.buffer).setUint32(0, flow);
  return payload;
}

/** Checks that each payload reaches the socket of the model. */
async function expectPlaced(
  group: Group,
  clients: readonly UdpSocket[],
  payloads: readonly Uint8Array[],
  steering: ReusePortSteering,
): Promise<void> {
  const expected = payloads.map((payload) => expectedIndex(payload, steering));
  expect(await placements(group, clients, payloads)).toEqual(expected);
}

function closeAll(sockets: readonly (UdpSocket | UnixDatagram)[]): void {
  for (const socket of sockets) socket.close();
}

describe.each([
  ["127.0.0.1", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["::1", "::1"],
  ["::", "::1"],
  ["::", "127.0.0.1"],
])("a group bound to %s with clients of %s", (hostname, target) => {
  test.skipIf(!HAS_IPV6 && `${hostname}${target}`.includes(":"))(
    "places datagrams by fields of every width and offset",
    async () => {
      await using group = await Group.open(5, { hostname });
      const clients = await openClients(CLIENTS, { hostname: target, port: group.port });
      for (const bytes of [1, 2, 4] as const) {
        for (const offset of [0, 1, 3, 17]) {
          for (const sockets of [5, 4, 1]) {
            const steering = { offset, bytes, sockets };
            group.sockets[offset % 5]?.setReusePortSteering(steering);
            await expectPlaced(group, clients, randomPayloads(CLIENTS, offset + bytes), steering);
          }
        }
      }
      closeAll(clients);
    },
  );
});

describe("the mask", () => {
  test.each([
    [1, 0x0f],
    [1, 0xf0],
    [1, 0x80],
    [1, 0xff],
    [1, 0b0101_0100],
    [2, 0xff00],
    [2, 0x03c0],
    [4, 0x8000_0000],
    [4, 0xffff_ffff],
    [4, 0xff00_0000],
    [4, 0x0001_fe00],
  ] as const)("of %i bytes, %i, selects its bits and moves them to bit 0", async (bytes, mask) => {
    await using group = await Group.open(4, IPV4);
    const clients = await openClients(CLIENTS, { ...IPV4, port: group.port });
    const steering = { offset: 2, bytes, sockets: 4, mask };
    group.sockets[0]?.setReusePortSteering(steering);
    await expectPlaced(group, clients, randomPayloads(CLIENTS, 8), steering);
    closeAll(clients);
  });
});

test("datagrams too short for the field are placed as without steering", async () => {
  await using group = await Group.open(4, IPV4);
  const clients = await openClients(CLIENTS, { ...IPV4, port: group.port });
  const byHash = await placements(group, clients, randomPayloads(CLIENTS, 7));
  expect(new Set(byHash).size).toBeGreaterThan(1);
  const steering = { offset: 4, bytes: 4, sockets: 4 } as const;
  group.sockets[0]?.setReusePortSteering(steering);
  for (const bytes of [0, 1, 4, 5, 7]) {
    expect(await placements(group, clients, randomPayloads(CLIENTS, bytes))).toEqual(byHash);
  }
  await expectPlaced(group, clients, randomPayloads(CLIENTS, 8), steering);
  closeAll(clients);
});

test("the field may be the end of the longest datagram", async () => {
  await using group = await Group.open(3, IPV4);
  const clients = await openClients(3, { ...IPV4, port: group.port });
  const steering = { offset: 65_503, bytes: 4, sockets: 3 } as const;
  group.sockets[0]?.setReusePortSteering(steering);
  const payloads = sequence(3).map((flow) => {
    const payload = new Uint8Array(65_507);
    payload[65_506] = flow;
    return payload;
  });
  expect(await placements(group, clients, payloads)).toEqual([0, 1, 2]);
  closeAll(clients);
});

test("a flow stays on its socket when the address and port of its client change", async () => {
  await using group = await Group.open(4, { hostname: "0.0.0.0" });
  const peer = { hostname: "127.0.0.1", port: group.port };
  const placesOfFlows = async () => {
    const places: number[][] = [];
    for (const flow of sequence(8)) {
      const clients = await openClients(16, peer, ADDRESSES);
      places.push(
        await placements(
          group,
          clients,
          clients.map(() => flowPayload(flow)),
        ),
      );
      closeAll(clients);
    }
    return places.map((indices) => [...new Set(indices)]);
  };
  // All 16 addresses of a flow have the same hash modulo 4 once in 2^30 cases.
  for (const indices of await placesOfFlows()) expect(indices.length).toBeGreaterThan(1);
  group.sockets[3]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 4 });
  expect(await placesOfFlows()).toEqual([[0], [1], [2], [3], [0], [1], [2], [3]]);
});

describe("the order of the group", () => {
  /** Returns the sockets that the flows 0 to `count` - 1 reach, each from another client. */
  async function placesOf(group: Group, count: number): Promise<number[]> {
    const clients = await openClients(count, { ...IPV4, port: group.port });
    const places = await placements(
      group,
      clients,
      sequence(count).map((i) => flowPayload(i)),
    );
    closeAll(clients);
    return places;
  }

  test("is that of binding, also for sockets that join after the call", async () => {
    await using group = await Group.open(2, IPV4);
    group.sockets[1]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 4 });
    for (const place of (await placesOf(group, 4)).slice(2)) expect([0, 1]).toContain(place);
    await group.add();
    await group.add();
    expect(await placesOf(group, 8)).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
  });

  test("gives the index of a closed socket to the last one", async () => {
    await using group = await Group.open(4, IPV4);
    group.sockets[1]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 4 });
    group.sockets[1]?.close();
    // The setting remains, though its socket is closed. Index 3 has no socket: by hash.
    expect((await placesOf(group, 3)).slice(0, 3)).toEqual([0, 3, 2]);
    group.sockets[2]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
    expect(await placesOf(group, 6)).toEqual([0, 3, 2, 0, 3, 2]);
    await group.add();
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 4 });
    expect(await placesOf(group, 4)).toEqual([0, 3, 2, 4]);
  });

  test.skipIf(!LEAVES_GROUP).each(["127.0.0.1", "0.0.0.0"])(
    "gives the index of a socket at %s that leaves to the last one",
    async (hostname) => {
      await using group = await Group.open(3, { hostname });
      group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
      group.sockets[0]?.leaveReusePort();
      group.sockets[1]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 2 });
      expect(await placesOf(group, 4)).toEqual([2, 1, 2, 1]);
      // It has no group any more.
      const again = () =>
        group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 2 });
      const error = thrown(again);
      expect(error).toMatchObject({ code: "EINVAL" });
    },
  );

  test("is kept by a descriptor that another socket object adopts", async () => {
    await using group = await Group.open(3, IPV4);
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
    const fd = (group.sockets[1] as UdpSocket).intoFd() as number;
    group.sockets[1] = await UdpSocket.fromFd(fd);
    expect(await placesOf(group, 6)).toEqual([0, 1, 2, 0, 1, 2]);
  });

  test("is kept while a duplicate of the descriptor is open", async () => {
    await using group = await Group.open(3, IPV4);
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
    const [left, right] = await UnixDatagram.pair();
    const crashing = group.sockets[1] as UdpSocket;
    await left.sendFds(new Uint8Array(1), [crashing.asRawIo() as number]);
    using received = await right.recvFds(new Uint8Array(1), { fdsMax: 1 });
    crashing.close();
    closeAll([left, right]);
    const [client] = (await openClients(1, { ...IPV4, port: group.port })) as [UdpSocket];
    await client.send(flowPayload(4));
    group.sockets[1] = await UdpSocket.fromFd(received.intoFds()[0] as number);
    expect(group.drain().map(({ length }) => length)).toEqual([0, 1, 0]);
    expect(await placesOf(group, 6)).toEqual([0, 1, 2, 0, 1, 2]);
    client.close();
  });

  test("counts only sockets of the same address", async () => {
    await using other = await Group.open(1, IPV4);
    await using group = new Group({ hostname: "127.0.0.2" });
    const { port } = other;
    await group.add(port);
    await group.add();
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 2 });
    await using all = new Group({ hostname: "0.0.0.0" });
    await all.add(port);
    const clients = await openClients(4, { hostname: "127.0.0.2", port });
    const payloads = sequence(4).map((flow) => flowPayload(flow));
    expect(await placements(group, clients, payloads)).toEqual([0, 1, 0, 1]);
    closeAll(clients);
  });

  test("of another group is not affected", async () => {
    await using group = await Group.open(3, IPV4);
    await using other = await Group.open(3, IPV4);
    const clients = await openClients(CLIENTS, { ...IPV4, port: other.port });
    const payloads = sequence(CLIENTS).map(() => flowPayload(0));
    const before = await placements(other, clients, payloads);
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
    expect(await placements(other, clients, payloads)).toEqual(before);
    expect(new Set(before).size).toBeGreaterThan(1);
    closeAll(clients);
  });
});

test("another call replaces the setting, and removing it restores the hash", async () => {
  await using group = await Group.open(3, IPV4);
  const clients = await openClients(CLIENTS, { ...IPV4, port: group.port });
  const payloads = randomPayloads(CLIENTS, 8);
  const byHash = await placements(group, clients, payloads);
  for (const offset of [0, 5]) {
    const steering = { offset, bytes: 2, sockets: 3 } as const;
    group.sockets[offset % 3]?.setReusePortSteering(steering);
    await expectPlaced(group, clients, payloads, steering);
  }
  group.sockets[1]?.removeReusePortSteering();
  expect(await placements(group, clients, payloads)).toEqual(byHash);
  group.sockets[1]?.removeReusePortSteering();
  closeAll(clients);
});

describe("within a QUIC connection ID", () => {
  /** Returns a packet with a destination connection ID. */
  function packet(isLong: boolean, id: Uint8Array, version = 1): Uint8Array {
    const header = isLong ? new Uint8Array(6) : new Uint8Array(1);
    header[0] = isLong ? 0xc3 : 0x43;
    if (isLong) new DataView(header.buffer).setUint32(1, version);
    if (isLong) header[5] = id.length;
    return Buffer.concat([header, id, crypto.getRandomValues(new Uint8Array(30))]);
  }

  test.each([
    [0, 1, undefined],
    [0, 2, undefined],
    [0, 4, undefined],
    [3, 1, 0x0f],
    [4, 4, 0x00ff_0000],
    [7, 1, 0xf0],
  ] as const)("long and short headers agree: offset %i, %i bytes", async (offset, bytes, mask) => {
    await using group = await Group.open(5, IPV4);
    const clients = await openClients(3 * CLIENTS, { ...IPV4, port: group.port });
    const steering = { offset, bytes, sockets: 5, mask, within: "quicConnectionId" } as const;
    group.sockets[0]?.setReusePortSteering(steering);
    const ids = randomPayloads(CLIENTS, 8);
    const packets = ids.flatMap((id, i) => [
      packet(true, id),
      packet(false, id),
      packet(true, id, i),
    ]);
    const places = await placements(group, clients, packets);
    expect(places).toEqual(packets.map((payload) => expectedIndex(payload, steering)));
    for (let i = 0; i < CLIENTS; i++) {
      expect(new Set(places.slice(3 * i, 3 * i + 3)).size).toBe(1);
    }
    expect(new Set(places).size).toBeGreaterThan(1);
    closeAll(clients);
  });

  test("packets without the field are placed as without steering", async () => {
    await using group = await Group.open(4, IPV4);
    const clients = await openClients(CLIENTS, { ...IPV4, port: group.port });
    const byHash = await placements(group, clients, randomPayloads(CLIENTS, 4));
    const steering = { offset: 2, bytes: 2, sockets: 4, within: "quicConnectionId" } as const;
    group.sockets[0]?.setReusePortSteering(steering);
    const id = new Uint8Array(20);
    for (const payload of [
      new Uint8Array(0),
      // A long header with an ID that ends before the field.
      packet(true, id.subarray(0, 3)),
      packet(true, id.subarray(0, 0)),
      // Cut off within the ID: long, short, and before the length of the ID.
      packet(true, id).subarray(0, 9),
      packet(false, id).subarray(0, 4),
      packet(true, id).subarray(0, 5),
    ]) {
      expect(await placements(group, clients, new Array(CLIENTS).fill(payload))).toEqual(byHash);
    }
    const steered = [packet(true, id.subarray(0, 4)), packet(true, id).subarray(0, 10)];
    for (const payload of [...steered, packet(false, id).subarray(0, 5)]) {
      const places = await placements(group, clients, new Array(CLIENTS).fill(payload));
      expect(new Set(places)).toEqual(new Set([0]));
    }
    closeAll(clients);
  });
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("with GSO and GRO", () => {
  /** Returns the flows that each socket of a group receives, in order. */
  const flowsOf = (group: Group) =>
    group
      .drain()
      .map((received) => received.map(({ payload }) => Buffer.from(payload).readUInt32BE(0)));

  test("bursts of one flow for each address are placed whole", async () => {
    await using group = await Group.open(3, IPV4);
    group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
    const clients = await openClients(6, { ...IPV4, port: group.port });
    for (const [flow, client] of clients.entries()) {
      await client.sendMany(sequence(20).map(() => flowPayload(flow, 100)));
    }
    const burst = (flow: number) => new Array(20).fill(flow);
    const expected = [0, 1, 2].map((index) => [...burst(index), ...burst(index + 3)]);
    expect(flowsOf(group)).toEqual(expected);
    expect(group.sockets[0]?.counters.messagesReceived).toBeLessThan(10);
    closeAll(clients);
  });

  test.each([true, false])(
    "a message of several flows is placed by its first datagram, GRO %p",
    async (gro) => {
      await using group = await Group.open(3, { ...IPV4, offload: { gro } });
      group.sockets[0]?.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
      const payloads = [1, 0, 2, 1].map((flow) => flowPayload(flow, 100));
      const [client] = (await openClients(1, { ...IPV4, port: group.port })) as [UdpSocket];
      await client.sendMany(payloads);
      expect(flowsOf(group)).toEqual([[], [1, 0, 2, 1], []]);
      client.close();
      await using single = await UdpSocket.connect(group.sockets[0]?.localAddr as never, {
        offload: { gso: false },
      });
      await single.sendMany(payloads);
      expect(flowsOf(group)).toEqual([[0], [1, 1], [2]]);
    },
  );
});

/** Starts Workers that bind a socket each, one after the other, and asks them what has arrived. */
async function startWorkers(count: number) {
  const workers: Worker[] = [];
  const ask = (worker: Worker, message: number) =>
    new Promise<unknown>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage(message);
    });
  let port = 0;
  for (let i = 0; i < count; i++) {
    const worker = new Worker(new URL("../children/steered-worker.ts", import.meta.url).href);
    workers.push(worker);
    port = (await ask(worker, port)) as number;
  }
  const received = () => Promise.all(workers.map((worker) => ask(worker, 0) as Promise<number[]>));
  return { port, workers, received };
}

test("Workers with a socket each get their own flows, whatever the addresses", async () => {
  const { port, workers, received } = await startWorkers(3);
  // The main thread sets it with a socket that leaves the group again: its index was the last.
  const setter = await UdpSocket.bind({ ...IPV4, port, reusePort: true });
  setter.setReusePortSteering({ offset: 0, bytes: 4, sockets: 3 });
  setter.close();
  const clients = await openClients(8, { ...IPV4, port }, ADDRESSES);
  for (const client of clients) {
    for (const flow of sequence(9)) await client.send(flowPayload(flow));
  }
  const flows = (await received()).map((all) => all.toSorted((a, b) => a - b));
  const eachOf = (first: number) => [0, 3, 6].flatMap((n) => new Array(8).fill(n + first));
  expect(flows).toEqual([eachOf(0), eachOf(1), eachOf(2)]);
  closeAll(clients);
  for (const worker of workers) worker.terminate();
});

describe("misuse", () => {
  const valid = { offset: 0, bytes: 1, sockets: 2 } as const;

  test.each([
    [undefined, TypeError, '"steering" expected object, got undefined'],
    [null, TypeError, '"steering" expected object, got null'],
    [{ ...valid, offsets: 1 }, TypeError, '"steering" got unknown option "offsets" (did you mean'],
    [{}, TypeError, '"steering.bytes" expected 1, 2 or 4, got undefined'],
    [{ ...valid, bytes: 3 }, RangeError, '"steering.bytes" expected 1, 2 or 4, got 3'],
    [{ ...valid, bytes: 8 }, RangeError, '"steering.bytes" expected 1, 2 or 4, got 8'],
    [{ ...valid, bytes: "1" }, TypeError, '"steering.bytes" expected 1, 2 or 4, got "1"'],
    [{ ...valid, offset: -1 }, RangeError, '"steering.offset" expected integer 0..65506, got -1'],
    [{ ...valid, offset: 65_507 }, RangeError, "0..65506, got 65507"],
    [{ ...valid, bytes: 4, offset: 65_504 }, RangeError, "0..65503, got 65504"],
    [{ ...valid, offset: 0.5 }, RangeError, "0..65506, got 0.5"],
    [{ bytes: 1, sockets: 2 }, TypeError, "0..65506, got undefined"],
    [{ ...valid, within: "quicConnectionId", offset: 8 }, RangeError, "0..7, got 8"],
    [{ ...valid, within: "quicConnectionId", bytes: 4, offset: 5 }, RangeError, "0..4, got 5"],
    [{ ...valid, sockets: 0 }, RangeError, '"steering.sockets" expected integer 1..65535, got 0'],
    [{ ...valid, sockets: 65_536 }, RangeError, "1..65535, got 65536"],
    [{ ...valid, sockets: "2" }, TypeError, '1..65535, got "2"'],
    [{ ...valid, mask: 0 }, RangeError, '"steering.mask" expected integer 1..255, got 0'],
    [{ ...valid, mask: 256 }, RangeError, "1..255, got 256"],
    [{ ...valid, bytes: 2, mask: 65_536 }, RangeError, "1..65535, got 65536"],
    [{ ...valid, bytes: 4, mask: 2 ** 32 }, RangeError, "1..4294967295, got 4294967296"],
    [{ ...valid, within: "quic" }, TypeError, '"steering.within" expected "payload" or'],
  ])("%j throws", async (steering, type, message) => {
    await using group = await Group.open(1, IPV4);
    await using portable = await UdpSocket.bind({ ...IPV4, backend: "portable" });
    for (const socket of [group.sockets[0] as UdpSocket, portable]) {
      const error = thrown(() => socket.setReusePortSteering(steering as never));
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toContain(message);
    }
  });

  test("the limits are accepted", async () => {
    await using group = await Group.open(1, IPV4);
    const socket = group.sockets[0] as UdpSocket;
    socket.setReusePortSteering({ offset: 65_506, bytes: 1, sockets: 65_535, mask: 255 });
    socket.setReusePortSteering({ offset: 0, bytes: 4, sockets: 1, mask: 2 ** 32 - 1 });
    const within = "quicConnectionId";
    socket.setReusePortSteering({ offset: 7, bytes: 1, sockets: 1, mask: undefined, within });
  });

  test("on a socket that shares no port, is closed or portable throws", async () => {
    await using alone = await UdpSocket.bind({ ...IPV4, backend: "native" });
    await using portable = await UdpSocket.bind({ ...IPV4, backend: "portable" });
    const closed = await UdpSocket.bind({ ...IPV4, backend: "native", reusePort: true });
    closed.close();
    for (const [socket, code, detail] of [
      [alone, "EINVAL", "a socket opened with reusePort: true expected, got one that"],
      [portable, "ERR_NOT_SUPPORTED", "ReusePortSteering requires the native backend"],
      [closed, "ERR_SOCKET_CLOSED", "the socket is closed"],
    ] as const) {
      for (const call of [
        () => socket.setReusePortSteering(valid),
        () => socket.removeReusePortSteering(),
      ]) {
        const error = thrown(call);
        expect(error).toMatchObject({ name: "SocketError", code });
        expect((error as Error).message).toContain(detail);
      }
    }
  });
});
