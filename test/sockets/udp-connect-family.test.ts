/** The address family of a socket that connects without a local host name. */

import { describe, expect, test } from "bun:test";
import { SocketAddress, UdpSocket } from "../../lib/index.ts";
import { BACKENDS, HAS_IPV6, rejection } from "../tools/sockets.ts";

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

  test.each(HOSTS)("accepts the SocketAddress of another socket on %s", async (hostname) => {
    await using server = await UdpSocket.bind({ hostname, backend });
    await using client = await UdpSocket.connect(server.localAddr, { backend });
    await using bound = await UdpSocket.bind({ hostname, backend, connect: server.localAddr });
    expect(client.peerAddr?.equals(server.localAddr)).toBe(true);
    expect(bound.peerAddr?.equals(server.localAddr)).toBe(true);
  });

  test("refuses addresses that no UDP socket can have as its peer", async () => {
    const unix = SocketAddress.unix("/run/peer.sock");
    expect(await rejection(UdpSocket.connect(unix, { backend }))).toMatchObject({
      name: "TypeError",
      message: '"peer" expected IP address and port, got "unix:/run/peer.sock"',
    });
    const noPort = SocketAddress.ip("127.0.0.1", 0);
    expect(await rejection(UdpSocket.connect(noPort, { backend }))).toMatchObject({
      name: "RangeError",
      message: '"peer.port" expected integer 1..65535, got 0',
    });
    expect(await rejection(UdpSocket.bind({ connect: noPort, backend }))).toMatchObject({
      message: '"connect.port" expected integer 1..65535, got 0',
    });
  });
});
