/**
 * The program of a host: QUIC endpoints, and egresses of the flow proxy with an upstream server, on the
 * addresses of the service. All replies contain the number of the host.
 */

import { type SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { Egress } from "../../flow-proxy/egress.ts";
import { BatchIo } from "../../quiche/batch-io.ts";
import type { QuicConnection } from "../../quiche/connection.ts";
import { QuicEndpoint } from "../../quiche/driver.ts";
import { loadQuiche } from "../../quiche/install.ts";
import { makeIdentity } from "../../quiche/tls.ts";
import { serveFunctions } from "./child.ts";
import { SERVICE } from "./network.ts";
import { IDLE_TIMEOUT_MS, PORTS, PROBE_HOST_OFFSET, PROTOCOL, serverIdOf } from "./service.ts";

/** The functions of a host. */
export type HostFunctions = {
  start(host: number): Promise<void>;
  counts(argument: null): HostCounts;
};

/** What a host has received. */
export interface HostCounts {
  /** QUIC connections that were opened. */
  readonly accepted: number;
  /** QUIC packets of connections that this host does not have: sent to the wrong host. */
  readonly strays: number;
  /** Tunnel flows that were opened. */
  readonly flows: number;
}

const endpoints: QuicEndpoint[] = [];
const egresses: Egress[] = [];

/** Replies to the probes of the tunnel flows. */
async function runUpstream(socket: UdpSocket, host: number): Promise<void> {
  for await (const { data, peer } of socket) {
    data[PROBE_HOST_OFFSET] = host;
    await socket.sendTo(data, peer as SocketAddress);
  }
}

async function start(host: number): Promise<void> {
  const upstream = await UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
  void runUpstream(upstream, host);
  const { address, port } = upstream.localAddr;
  const { quiche } = loadQuiche();
  const identity = quiche && makeIdentity();
  for (const hostname of [SERVICE.address4, SERVICE.address6]) {
    const listen = { hostname, port: PORTS.tunnel };
    const limits = { flowsMax: 4096, idleTimeoutMs: IDLE_TIMEOUT_MS };
    egresses.push(await Egress.open({ listen, upstream: { hostname: address, port }, ...limits }));
    if (quiche === undefined) continue;
    const io = await BatchIo.bind({ hostname, port: PORTS.quic });
    endpoints.push(
      new QuicEndpoint(quiche, io, {
        protocol: PROTOCOL,
        idleTimeoutMs: IDLE_TIMEOUT_MS,
        identity,
        serverId: serverIdOf(host),
        onConnection: (connection) => serve(connection, host),
      }),
    );
  }
}

function serve(connection: QuicConnection, host: number): void {
  connection.onDatagram = (bytes) => {
    bytes[PROBE_HOST_OFFSET] = host;
    connection.sendDatagram(bytes);
  };
}

function counts(): HostCounts {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    accepted: sum(endpoints.map(({ counters }) => counters.accepted)),
    strays: sum(endpoints.map(({ counters }) => counters.strays)),
    flows: sum(egresses.map((egress) => egress.snapshot().flowCounters.opened)),
  };
}

if (import.meta.main) serveFunctions({ start, counts } satisfies HostFunctions);
