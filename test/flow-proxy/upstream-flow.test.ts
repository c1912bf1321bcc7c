/** A flow of the egress whose socket is still being opened. */

import { expect, test } from "bun:test";
import { newEndpointCounters } from "../../examples/flow-proxy/counters.ts";
import { openSocket, type ProxySocket } from "../../examples/flow-proxy/open-socket.ts";
import { ReplyQueue } from "../../examples/flow-proxy/reply-queue.ts";
import { systemRuntime } from "../../examples/flow-proxy/runtime.ts";
import { UpstreamFlow } from "../../examples/flow-proxy/upstream-flow.ts";
import { isClosedError, SocketAddress, UdpSocket } from "../../lib/index.ts";

/** Returns whether a socket, which has no datagrams, is closed. */
function isClosedSocket(socket: UdpSocket): boolean {
  try {
    socket.tryRecv(new Uint8Array(1));
  } catch (error) {
    return isClosedError(error);
  }
  return false;
}

test.each([
  { name: "is reported as open if the flow is not closed", isClosed: false },
  { name: "is closed and not reported if the flow is closed meanwhile", isClosed: true },
])("an upstream socket $name", async ({ isClosed }) => {
  await using tunnel = await openSocket({ hostname: "127.0.0.1" });
  const socket = await UdpSocket.connect({ hostname: "127.0.0.1", port: tunnel.localAddr.port });
  const { promise, resolve } = Promise.withResolvers<UdpSocket>();
  const opened: ProxySocket[] = [];
  const counters = newEndpointCounters();
  const flow = new UpstreamFlow(
    { ingress: SocketAddress.ip("127.0.0.1", 9), id: 1 },
    {
      counters,
      runtime: systemRuntime,
      replyFactor: 3,
      replies: new ReplyQueue(tunnel, counters),
      openSocket: () => promise,
      onOpen: (upstream) => opened.push(upstream),
      onReply: () => true,
    },
  );
  const opening = flow.open();
  if (isClosed) flow.close();
  resolve(socket);
  await opening;
  expect(opened).toEqual(isClosed ? [] : [socket]);
  expect(isClosedSocket(socket)).toBe(isClosed);
  flow.close();
  expect(isClosedSocket(socket)).toBe(true);
});
