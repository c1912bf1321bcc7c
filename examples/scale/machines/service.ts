/** What hosts, clients and load balancers of the demonstration agree on. */

import { firstOctetOf, idBytesOf, type QuicLbConfig } from "../../quiche/quic-lb.ts";
import { ID_BYTES } from "../../quiche/router.ts";
import { SERVICE } from "./network.ts";
import type { BalancerConfig } from "./rules.ts";

/** The protocol name (ALPN) of the QUIC connections. */
export const PROTOCOL = "machines-demo";
export const PORTS = { quic: 4433, tunnel: 7000 } as const;
/** Long enough for a comparison in which some connections get no replies. */
export const IDLE_TIMEOUT_MS = 30_000;
/** The connection IDs. */
export const QUIC_LB: QuicLbConfig = { rotation: 0, serverIdBytes: 2, nonceBytes: ID_BYTES };

/** Probes have a number in their first four bytes, and replies the number of the host in the fifth. */
export const PROBE_BYTES = 5;
export const PROBE_HOST_OFFSET = 4;

/** Returns the server ID of a host. */
export function serverIdOf(host: number): Uint8Array {
  return Uint8Array.of(host >> 8, host & 0xff);
}

/** Returns the configuration of the load balancers for the hosts. */
export function balancerConfig(
  servers: readonly number[],
  serversForNew: readonly number[] = servers,
): BalancerConfig {
  const firstOctet = firstOctetOf(QUIC_LB);
  const idBytes = idBytesOf(QUIC_LB);
  return { ...SERVICE, ports: PORTS, firstOctet, idBytes, servers, serversForNew };
}
