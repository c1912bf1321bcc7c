/** Replies to broadcast and multicast queries from the address that the querying host expects. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { LINKS, Namespaces, reasonToSkip, run } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

const reason = reasonToSkip([]);
if (reason !== undefined) console.warn(`skipped: replies between namespaces: ${reason}`);

const TIMEOUT_MS = 30_000;
const { near, far } = LINKS;
const GROUP = "239.255.97.9";
const GROUP_IPV6 = "ff12::9709";
const PORT = 5353;

/** What the responder knows of a query. */
interface Query {
  readonly destination: string;
  readonly replySource: string;
  /** The code of the error of a reply whose source is the destination of the query. */
  readonly destinationAsSource: string;
}

let net: Namespaces;

/** Receives `count` queries and replies to each with its `replySource`. */
function respond(hostname: string, count: number): Promise<Query[]> {
  const devices = [near.device, far.device];
  return runIn(
    net.receiver,
    async ({ RecvMeta, SendBatch, SocketError, UdpSocket, WouldBlock }, argument) => {
      const { hostname, devices, groups, port, count } = argument;
      const socket = await UdpSocket.bind({ hostname, port });
      socket.enableMetadata({ destination: true });
      // The kernel looks the address up when it queues a datagram, and only if it is asked for.
      while (socket.tryRecv(new Uint8Array(9)) !== WouldBlock);
      for (const device of devices) {
        socket.addMembership({ group: groups[0] as string, interface: device });
        if (hostname === "::") {
          socket.addMembership({ group: groups[1] as string, interface: device });
        }
      }
      const queries: Query[] = [];
      while (queries.length < count) {
        const meta = Object.assign(new RecvMeta(), await socket.recvFrom(new Uint8Array(9)));
        const { destination, replySource, peer, interfaceIndex } = meta;
        const batch = new SendBatch();
        let destinationAsSource = "sent";
        try {
          batch.meta({ source: destination, interfaceIndex }).push(new Uint8Array(1), peer);
          socket.trySendBatch(batch);
        } catch (error) {
          destinationAsSource = error instanceof SocketError ? error.code : `${error}`;
        }
        batch.clear();
        batch.meta({ source: replySource, interfaceIndex }).push(new Uint8Array(2), peer);
        await socket.sendBatch(batch);
        queries.push({
          destination: `${destination?.address}`,
          replySource: `${replySource?.address}`,
          destinationAsSource,
        });
      }
      return queries;
    },
    { hostname, devices, groups: [GROUP, GROUP_IPV6], port: PORT, count },
  );
}

/** Sends a query from `device` until a reply of 2 bytes arrives, and returns its source. */
function query(device: string, to: string): Promise<string> {
  return runIn(
    net.sender,
    async ({ RecvMeta, SendBatch, SocketAddress, UdpSocket }, { device, to, port }) => {
      const hostname = to.includes(":") ? "::" : "0.0.0.0";
      const socket = await UdpSocket.bind({ hostname });
      socket.setBroadcast(true);
      const address = SocketAddress.ip(to, port);
      const buffer = new Uint8Array(9);
      for (;;) {
        const batch = new SendBatch().meta({ interfaceIndex: device });
        await socket.sendBatch(batch.push(new Uint8Array(1), address));
        const signal = AbortSignal.timeout(100);
        const meta = await socket.recvFrom(buffer, { signal }).catch(() => new RecvMeta());
        if (meta.length === 2) return `${meta.peer?.address}`;
      }
    },
    { device, to, port: PORT },
  );
}

describe.skipIf(reason !== undefined)("replySource", () => {
  beforeAll(() => {
    net = new Namespaces("dgs");
    // A second address, which is not the one to reply from.
    run(`ip -n ${net.receiver} addr add ${near.network}22/24 dev near`);
  });
  afterAll(() => net[Symbol.dispose]());

  const nearHost = `${near.network}2`;
  const farHost = `${far.network}2`;
  const nearHost6 = `${near.network6}2`;
  /** Device, destination, `replySource` and whether a reply may have the destination as source. */
  const IPV4: [device: string, to: string, source: string, isValid: boolean][] = [
    [near.device, `${near.network}255`, nearHost, false],
    [far.device, `${far.network}255`, farHost, false],
    [near.device, "255.255.255.255", nearHost, false],
    [near.device, GROUP, nearHost, false],
    [far.device, GROUP, farHost, false],
    [near.device, `${near.network}22`, `${near.network}22`, true],
  ];
  const IPV6: typeof IPV4 = [
    [near.device, nearHost6, nearHost6, true],
    [near.device, GROUP_IPV6, "undefined", false],
  ];

  test.each([
    ["0.0.0.0", IPV4],
    ["::", [...IPV4, ...IPV6]],
  ] as const)(
    "is a valid source for replies to unicast, broadcast and multicast on %s",
    async (hostname, cases) => {
      for (const [device, to, source, isValid] of cases) {
        const [queries, peer] = await Promise.all([respond(hostname, 1), query(device, to)]);
        const [{ destination, replySource, destinationAsSource }] = queries as [Query];
        expect([to, destination, replySource]).toEqual([to, to, source]);
        expect([to, destinationAsSource === "sent"]).toEqual([to, isValid]);
        // Without a source the route selects the address, which is the one of the link here.
        if (source !== "undefined") expect([to, peer]).toEqual([to, source]);
      }
    },
    TIMEOUT_MS,
  );
});
