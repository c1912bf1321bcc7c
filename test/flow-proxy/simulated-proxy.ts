/** The flow proxy on a simulated network: both halves, an origin, and clients that a test controls. */

import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { type HostAndPort, Pending, RecvMeta, SocketAddress } from "../../lib/index.ts";
import type { SimNetwork, SimSocket } from "../../lib/testing/index.ts";
import { SimRuntime } from "../sim/sim-runtime.ts";

export const INGRESS: HostAndPort = { hostname: "10.0.0.1", port: 5000 };
/** The address that the ingress reaches the egress from. */
export const INGRESS_OUT = "10.0.0.11";
export const EGRESS: HostAndPort = { hostname: "10.0.0.2", port: 6000 };
export const ORIGIN: HostAndPort = { hostname: "10.0.0.3", port: 7000 };
export const FLOWS_MAX = 64;
export const IDLE_TIMEOUT_MS = 30_000;
export const LIMITS: { readonly flowsMax: number; readonly idleTimeoutMs: number } = {
  flowsMax: FLOWS_MAX,
  idleTimeoutMs: IDLE_TIMEOUT_MS,
};

/** Returns the address of a host and port. */
export function addressOf({ hostname, port }: HostAndPort): SocketAddress {
  return SocketAddress.ip(hostname, port);
}

/** Returns a runtime whose sockets are on `host`, and are opened at once. */
export function runtimeOf(net: SimNetwork, host: string, connectHost: string = host): SimRuntime {
  return new SimRuntime(net, { listenHost: host, connectHost, openMs: 0, openFailures: 0 });
}

/** Replies to each datagram with `replies` datagrams of `bytes` bytes; default: an echo. */
function serve(socket: SimSocket, options: { replies?: number; bytes?: number } = {}): void {
  const buffer = new Uint8Array(2000);
  const meta = new RecvMeta();
  const receive = (): void => {
    while (!socket.isClosed) {
      const length = socket.pollRecvFrom(receive, buffer, meta);
      if (length === Pending) return;
      for (let i = 0; i < (options.replies ?? 1); i++) {
        const reply = buffer.slice(0, options.bytes ?? length);
        socket.trySendTo(reply, meta.peer as SocketAddress);
      }
    }
  };
  receive();
}

/** Receives what is queued, and returns the lengths. */
export function received(socket: SimSocket): number[] {
  const lengths: number[] = [];
  const buffer = new Uint8Array(2000);
  while (socket.receiveQueueLength > 0) lengths.push(socket.tryRecv(buffer) as number);
  return lengths;
}

/** Both halves, and their upstream. */
export interface SimulatedProxy {
  readonly ingress: Ingress;
  readonly egress: Egress;
  readonly origin: SimSocket;
  close(): void;
}

/** Opens both halves and an origin, on a network without delay. */
export async function openProxy(
  net: SimNetwork,
  options: {
    replies?: number;
    bytes?: number;
    replyFactor?: number;
    graceMs?: number;
    connectionIdBytes?: number;
    firstFlowId?: number;
  } = {},
): Promise<SimulatedProxy> {
  const { replyFactor, graceMs, connectionIdBytes, firstFlowId } = options;
  const origin = net.bind(ORIGIN.hostname, ORIGIN.port);
  serve(origin, options);
  const egress = await Egress.open({
    ...{ listen: EGRESS, upstream: ORIGIN, replyFactor, graceMs },
    ...{ runtime: runtimeOf(net, EGRESS.hostname), ...LIMITS },
  });
  const ingress = await Ingress.open({
    ...{ listen: INGRESS, tunnel: EGRESS, replyFactor, graceMs, connectionIdBytes, firstFlowId },
    ...{ runtime: runtimeOf(net, INGRESS.hostname, INGRESS_OUT), ...LIMITS },
  });
  const close = () => {
    ingress.close();
    egress.close();
    origin.close();
  };
  return { ingress, egress, origin, close };
}

/** Opens a client of the ingress. */
export function clientOf(net: SimNetwork, host: string, port = 0): SimSocket {
  return net.bind(host, port, { connect: addressOf(INGRESS) });
}

/** Sends a request, and returns the lengths of the replies that arrive within 10 ms. */
export async function exchange(net: SimNetwork, client: SimSocket, bytes = 100): Promise<number[]> {
  await client.send(new Uint8Array(bytes));
  await net.clock.sleep(10);
  return received(client);
}
