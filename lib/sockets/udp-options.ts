/** The options of `UdpSocket.bind`, their checks, and the choice of the backend. */

import { type Backend, checkSendErrors, type SendErrors } from "../engine/engine.ts";
import { type BufferSizes, checkBufferSizes } from "../engine/native/open-socket.ts";
import { checkOffload, type Offload } from "../linux/offload.ts";
import type { PathMtuDiscovery } from "../linux/socket-options.ts";
import { loadNativeThread, type NativeThreadResult } from "../readiness/thread-reactor.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { unsupportedError } from "../support/errors.ts";
import { warn } from "../support/warn.ts";

/** The environment variable that selects the default backend: `native` or `portable`. */
const BACKEND_VARIABLE = "DATAGRAM_SOCKET_BACKEND";

/** A host and a port, as in `Bun.udpSocket`. */
export interface HostAndPort {
  /** An IP address, or a name to resolve. */
  readonly hostname: string;
  /** 1..65535. */
  readonly port: number;
}

/** Options of `UdpSocket.bind`. */
export interface UdpBindOptions extends BufferSizes {
  /**
   * The address to bind to, or a name to resolve. `"::"` includes IPv4 (dual stack). Default:
   * `"0.0.0.0"`, or `"::"` if the address of `connect` is IPv6.
   */
  readonly hostname?: string | undefined;
  /** The port to bind to, 0..65535. Default 0: chosen by the system. */
  readonly port?: number | undefined;
  /** The peer to connect to: the only one that the socket then exchanges datagrams with. */
  readonly connect?: HostAndPort | undefined;
  /** `"portable"` uses only `Bun.udpSocket`. Default: `"native"` where it works. */
  readonly backend?: Backend | undefined;
  /** Lets several sockets share the port; the kernel distributes peers (SO_REUSEPORT). Native. */
  readonly reusePort?: boolean | undefined;
  /** Lets several sockets bind the port, for multicast (SO_REUSEADDR). Native only. */
  readonly reuseAddress?: boolean | undefined;
  /**
   * The offloads to use: `gso` (datagrams are sent as segments of one message) and `gro` (the kernel
   * merges received datagrams). They change only the speed. Default: both, where they work. The
   * environment variable `DATAGRAM_SOCKET_OFFLOAD=off` disables both and takes precedence.
   */
  readonly offload?: boolean | Partial<Offload> | undefined;
  /** The handling of datagrams that exceed the path MTU. Default `"off"`. Native only. */
  readonly pathMtuDiscovery?: PathMtuDiscovery | undefined;
  /**
   * Receives packets that TPROXY rules redirect, and allows foreign local addresses
   * (IP_TRANSPARENT). Requires CAP_NET_ADMIN (`EPERM`). Native only.
   */
  readonly transparent?: boolean | undefined;
  /** Allows addresses that this host does not have, or not yet (IP_FREEBIND). Native only. */
  readonly freebind?: boolean | undefined;
  /** Restricts an IPv6 socket to IPv6 (IPV6_V6ONLY). Default: dual stack. Native only. */
  readonly ipv6Only?: boolean | undefined;
  /** The handling of datagrams that the system refuses. Default `"throw"`. */
  readonly sendErrors?: SendErrors | undefined;
  /** The length of the receive queue of the portable backend, 1..2^31-1. Default 2800. */
  readonly receiveQueueDatagrams?: number | undefined;
}

/** Options of `UdpSocket.fromFd`. */
export type UdpAdoptOptions = Pick<UdpBindOptions, "offload" | "sendErrors">;

/** @throws TypeError or RangeError for invalid options. */
export function checkBindOptions(options: UdpBindOptions): void {
  const {
    hostname,
    port = 0,
    connect,
    receiveQueueDatagrams = 1,
    pathMtuDiscovery = "off",
  } = options;
  if (hostname !== undefined && typeof hostname !== "string") {
    throw typeError("hostname", "string", hostname);
  }
  checkInteger("port", port, 0, 65_535);
  if (connect !== undefined) {
    if (typeof connect.hostname !== "string") {
      throw typeError("connect.hostname", "string", connect.hostname);
    }
    checkInteger("connect.port", connect.port, 1, 65_535);
  }
  if (!["off", "on", "probe"].includes(pathMtuDiscovery)) {
    throw rangeError("pathMtuDiscovery", '"off", "on" or "probe"', pathMtuDiscovery);
  }
  checkInteger("receiveQueueDatagrams", receiveQueueDatagrams, 1, 2 ** 31 - 1);
  checkOffload(options.offload);
  checkSendErrors(options.sendErrors);
  checkBufferSizes(options);
}

/** Returns the native backend, or the reason why it is not used. */
export async function chooseBackend(requested: Backend | undefined): Promise<NativeThreadResult> {
  const wanted = requested ?? process.env[BACKEND_VARIABLE] ?? "";
  if (!["native", "portable", ""].includes(wanted)) {
    throw rangeError(requested ? "backend" : BACKEND_VARIABLE, '"native" or "portable"', wanted);
  }
  if (wanted === "portable") return { reason: "the portable backend was requested" };
  const loaded = await loadNativeThread();
  if ("reason" in loaded) {
    if (wanted === "native") throw unsupportedError("bind", loaded.reason);
    warnOnce(`the portable backend is used: ${loaded.reason}`);
  }
  return loaded;
}

let hasWarned = false;

function warnOnce(message: string): void {
  if (!hasWarned) warn(message);
  hasWarned = true;
}

/** @throws SocketError with code `ERR_NOT_SUPPORTED` for options of the native backend. */
export function refuseNativeOptions(options: UdpBindOptions, reason: string): void {
  for (const name of [
    "reusePort",
    "reuseAddress",
    "transparent",
    "freebind",
    "ipv6Only",
    "receiveBufferBytes",
    "sendBufferBytes",
  ] as const) {
    if (options[name])
      throw unsupportedError("bind", `${name} requires the native backend: ${reason}`);
  }
  if ((options.pathMtuDiscovery ?? "off") !== "off") {
    throw unsupportedError("bind", `pathMtuDiscovery requires the native backend: ${reason}`);
  }
}
