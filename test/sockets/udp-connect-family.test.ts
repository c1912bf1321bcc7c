/** The address family of a socket that connects without a local host name. */

import { describe, expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { BACKENDS, HAS_IPV6 } from "../tools/sockets.ts";

const HOSTS = HAS_IPV6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"];

describe.each(BACKENDS)("connect without a local hostname, %s backend", (backend) => {
  test.each(HOSTS)("binds to the address family of the peer %s", async (hostname) => {
    await using server = await UdpSocket.bind({ hostname, backend });
    const { port } = server.localAddr;
    await using client = await UdpSocket.connect({ hostname, port }, { backend });
    await client.send(Buffer.from("question"));
    const buffer = Buffer.alloc(20);
    const { length, peer } = await server.recvFrom(buffer);
    expect(buffer.toString("utf8", 0, length)).toBe("question");
    expect([peer?.address, peer?.port]).toEqual([hostname, client.localAddr.port]);
    expect(client.peerAddr?.equals(server.localAddr)).toBe(true);
  });
});
