/**
 * The tunnel between the two halves. It is a datagram socket: an ingress sends to its connected peer,
 * an egress to the address that a datagram came from. The halves do not know which tunnel it is.
 *
 * - The plain tunnel is a UDP socket.
 * - The secure tunnel carries each datagram in a QUIC DATAGRAM frame (RFC 9221), see
 *   `secure-tunnel.ts`. The address of an ingress is then that of its session, which stays the same
 *   when the ingress changes its network address or connects again.
 */

import type { Backend, HostAndPort } from "../../lib/index.ts";
import type { DropCounters } from "./counters.ts";
import type { ProxySocket } from "./open-socket.ts";
import type { Runtime } from "./runtime.ts";
import type { TunnelSecurity } from "./tunnel-security.ts";

export interface TunnelOptions {
  readonly runtime: Runtime;
  readonly backend: Backend | undefined;
  /** Absent: the tunnel is plain. */
  readonly security: TunnelSecurity | undefined;
  /** The counters of the endpoint, to which the tunnel adds its drops. */
  readonly drops: DropCounters;
}

/**
 * Opens the end of an ingress.
 *
 * @throws SocketError if the socket cannot be opened.
 * @throws TunnelError if the egress does not have a certificate of `security.peers`, or refuses that
 * of this ingress. An egress that does not reply is no error: the tunnel tries again.
 */
export async function connectTunnel(
  egress: HostAndPort,
  { runtime, backend, security, drops }: TunnelOptions,
): Promise<ProxySocket> {
  if (security === undefined) return runtime.openSocket({ connect: egress, backend });
  const { SecureIngressTunnel } = await import("./secure-ingress-tunnel.ts");
  return SecureIngressTunnel.connect(egress, security, drops);
}

/**
 * Opens the end of an egress.
 *
 * @throws SocketError if the socket cannot be opened.
 */
export async function listenForTunnels(
  listen: HostAndPort,
  { runtime, backend, security, drops }: TunnelOptions,
): Promise<ProxySocket> {
  if (security === undefined) return runtime.openSocket({ ...listen, backend });
  const { SecureEgressTunnel } = await import("./secure-egress-tunnel.ts");
  return SecureEgressTunnel.listen(listen, security, drops);
}
