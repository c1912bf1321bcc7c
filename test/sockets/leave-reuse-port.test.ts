/** `leaveReusePort`: a socket that shares its port gets no more datagrams, and can still answer. */

import { describe, expect, test } from "bun:test";
import { RecvMeta, SendBatch, type SocketAddress, UdpSocket, WouldBlock } from "../../lib/index.ts";
import { HAS_IPV6, numbered, sequence, targets, thrown } from "../tools/sockets.ts";

const CLIENTS = 32;
const OPTIONS = { reusePort: true, backend: "native" } as const;

/** Opens clients that are connected to a port of loopback. */
function openClients(hostname: string, port: number): Promise<UdpSocket[]> {
  const peer = { hostname, port };
  return Promise.all(sequence(CLIENTS).map(() => UdpSocket.connect(peer)));
}

/** Receives everything that is in the receive buffer, and returns the senders. */
function drain(socket: UdpSocket): SocketAddress[] {
  const senders: SocketAddress[] = [];
  const meta = [new RecvMeta()];
  while (socket.tryRecvMany(targets(1), { meta }) !== WouldBlock) {
    senders.push(meta[0]?.peer as SocketAddress);
  }
  return senders;
}

describe.each([
  ["127.0.0.1", "127.0.0.1"],
  ["0.0.0.0", "127.0.0.1"],
  ["::1", "::1"],
  ["::", "::1"],
  ["::", "127.0.0.1"],
])("a socket bound to %s with clients of %s", (hostname, target) => {
  test.skipIf(!HAS_IPV6 && `${hostname}${target}`.includes(":"))(
    "keeps and can answer the datagrams that it has, and gets no others",
    async () => {
      await using old = await UdpSocket.bind({ ...OPTIONS, hostname });
      const { port } = old.localAddr;
      await using successor = await UdpSocket.bind({ ...OPTIONS, hostname, port });
      const clients = await openClients(target, port);
      for (const client of clients) await client.sendMany(numbered(1));
      old.leaveReusePort();
      for (const client of clients) await client.sendMany(numbered(2));
      const kept = drain(old);
      // The kernel assigns clients by a hash: all 32 to one of two sockets once in 2^31 cases.
      expect(kept.length).toBeGreaterThan(0);
      expect(kept.length).toBeLessThan(CLIENTS);
      const all = drain(successor);
      expect(kept.length + all.length).toBe(3 * CLIENTS);
      for (const peer of kept) await old.sendTo(new Uint8Array(4), peer);
      const answered = clients.filter((client) => client.tryRecv(new Uint8Array(4)) === 4);
      expect(answered.length).toBe(kept.length);
      for (const client of clients) client.close();
    },
  );
});

test("a socket bound to all addresses answers from another address with replySource", async () => {
  await using old = await UdpSocket.bind({ ...OPTIONS, hostname: "0.0.0.0" });
  old.enableMetadata({ destination: true });
  await using client = await UdpSocket.connect({ hostname: "127.0.0.2", port: old.localAddr.port });
  await client.send(new Uint8Array(4));
  old.leaveReusePort();
  const { peer, replySource } = await old.recvFrom(new Uint8Array(4));
  expect(replySource?.address).toBe("127.0.0.2");
  // Without the metadata, the source is 127.0.0.1, and the connected client does not get the reply.
  await old.sendTo(new Uint8Array(1), peer as SocketAddress);
  const batch = new SendBatch().meta({ source: replySource });
  await old.sendBatch(batch.push(new Uint8Array(2), peer as SocketAddress));
  expect(await client.recv(new Uint8Array(4))).toBe(2);
});

test("leaveReusePort throws if the socket shares no port, is connected or closed", async () => {
  await using alone = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  expect(thrown(() => alone.leaveReusePort())).toMatchObject({
    code: "EINVAL",
    message: `leaveReusePort ${alone.localAddr} EINVAL: a socket opened with reusePort: true expected, got one that shares no port`,
  });
  await using connected = await UdpSocket.bind({
    ...OPTIONS,
    hostname: "127.0.0.1",
    connect: alone.localAddr,
  });
  expect(thrown(() => connected.leaveReusePort())).toMatchObject({ code: "EISCONN" });
  connected.close();
  expect(thrown(() => connected.leaveReusePort())).toMatchObject({ code: "ERR_SOCKET_CLOSED" });
  await using portable = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "portable" });
  expect(thrown(() => portable.leaveReusePort())).toMatchObject({ code: "ERR_NOT_SUPPORTED" });
});
