/** Clients that vanish, so that ICMP refuses what the proxy sends to them, do not disturb the others. */

import { expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { encodeCapsule } from "../../lib/masque/index.ts";
import {
  ANY_PORT,
  openClient,
  openPeer,
  RawClient,
  skipReason,
  startEcho,
  TestProxy,
} from "./endpoints.ts";

const VANISHED = 10;
const REQUESTS = 300;
const TALK_MS = 5;
const TALK_DATAGRAMS = 30;

/** Forwards datagrams between a client and the proxy, which sees the address of `back`. */
async function startRelay(proxyPort: number): Promise<{ port: number; vanish: () => void }> {
  const front = await UdpSocket.bind(ANY_PORT);
  const back = await UdpSocket.connect({ hostname: "127.0.0.1", port: proxyPort });
  let client: UdpSocket["localAddr"] | undefined;
  void (async () => {
    for await (const { data, peer } of front) {
      client = peer;
      if (!back.isClosed) await back.send(data);
    }
  })();
  void (async () => {
    for await (const { data } of back) if (client !== undefined) await front.sendTo(data, client);
  })();
  const vanish = () => {
    back.close();
    front.close();
  };
  return { port: front.localAddr.port, vanish };
}

/** A target that keeps sending to every peer that has sent to it. */
async function startTalker(): Promise<AsyncDisposable & { port: number }> {
  const socket = await UdpSocket.bind({ ...ANY_PORT, sendErrors: "drop" });
  const peers = new Map<string, NonNullable<UdpSocket["peerAddr"]>>();
  void (async () => {
    for await (const { peer } of socket) if (peer !== undefined) peers.set(String(peer), peer);
  })();
  const timer = setInterval(() => {
    for (const peer of peers.values()) {
      for (let i = 0; i < TALK_DATAGRAMS; i++) socket.trySendTo(Buffer.alloc(1000), peer);
    }
  }, TALK_MS);
  const stop = async () => {
    clearInterval(timer);
    socket.close();
  };
  return { port: socket.localAddr.port, [Symbol.asyncDispose]: stop };
}

test.skipIf(skipReason !== undefined)(
  "replies to other clients are not lost",
  async () => {
    await using echo = await startEcho();
    await using talker = await startTalker();
    await using proxy = await TestProxy.start();
    const { port } = proxy.server;
    await using client = await openClient(port, echo.localAddr.port);
    await client.connected;
    using peer = await openPeer(client);
    const clients: RawClient[] = [];
    for (let i = 0; i < VANISHED; i++) {
      const relay = await startRelay(port);
      const raw = await RawClient.connect(relay.port, false);
      clients.push(raw);
      const { status, stream } = await raw.connectUdp("127.0.0.1", talker.port);
      expect(status).toBe(200);
      void (async () => {
        for await (const _ of stream);
      })().catch(() => {});
      stream.writer.writeSync(encodeCapsule(0, Uint8Array.of(0, 1)));
      await Bun.sleep(100);
      relay.vanish();
    }
    const reply = new Uint8Array(100);
    let lost = 0;
    for (let i = 0; i < REQUESTS; i++) {
      await peer.send(`request ${i}`);
      const signal = AbortSignal.timeout(1000);
      if ((await peer.recv(reply, { signal }).catch(() => 0)) === 0) lost++;
      await Bun.sleep(2);
    }
    for (const raw of clients) raw.session.destroy();
    expect(lost).toBe(0);
    expect([proxy.counters.lost, client.counters.lost]).toEqual([0, 0]);
  },
  30_000,
);
