/** What `UdpSocket.bind` takes, how it is checked, and which backend it leads to. */

import type { Backend } from "../engine/engine.ts";
import { checkOffload, type Offload } from "../engine/offload.ts";
import { type BufferSizes, checkBufferSizes } from "../engine/open.ts";
import type { PathMtuDiscovery } from "../engine/options.ts";
import { loadReactor, type ReactorResult } from "../readiness/load.ts";
import { checkInteger, rangeError, typeError } from "../support/check.ts";
import { unsupportedError } from "../support/errors.ts";
import { warn } from "../support/warn.ts";

/** Environment variable that asks for a backend where no option does: `shim` or `portable`. */
const BACKEND_VARIABLE = "DATAGRAM_SOCKET_BACKEND";

/** A host and a port, as `Bun.udpSocket` takes them. */
export interface HostAndPort {
  /** An IP address, or a name to look up. */
  readonly hostname: string;
  /** 1..65535. */
  readonly port: number;
}

/** Options of `UdpSocket.bind`. */
export interface UdpBindOptions extends BufferSizes {
  /**
   * The address to bind to, or a name to look up. `"::"` takes IPv4 too (dual stack). Default:
   * `"0.0.0.0"`, or `"::"` when `connect` leads to an IPv6 address.
   */
  readonly hostname?: string | undefined;
  /** The port to bind to. Default 0: the system chooses. */
  readonly port?: number | undefined;
  /** The only peer to talk to. */
  readonly connect?: HostAndPort | undefined;
  /** `"portable"`: `Bun.udpSocket` alone. Default: the shim where it works. */
  readonly backend?: Backend | undefined;
  /** Several sockets share the port, and the kernel spreads peers over them. Shim only. */
  readonly reusePort?: boolean | undefined;
  /** Several sockets may bind the port, for multicast (SO_REUSEADDR). Shim only. */
  readonly reuseAddress?: boolean | undefined;
  /**
   * Whether datagrams may be joined to messages: sent as segments of one (GSO), received many at a
   * time (GRO). Nothing else changes by it but the speed. Default: where it works; the environment
   * variable `DATAGRAM_SOCKET_OFFLOAD=off` switches both off, whatever is asked for.
   */
  readonly offload?: boolean | Partial<Offload> | undefined;
  /** Whether IP may fragment datagrams. Default `"off"`: it may. Shim only. */
  readonly pathMtuDiscovery?: PathMtuDiscovery | undefined;
  /**
   * Takes what TPROXY rules of the firewall lead here, may bind and send from addresses of others
   * (IP_TRANSPARENT). Needs the right to administer the network (`EPERM`). Shim only.
   */
  readonly transparent?: boolean | undefined;
  /** May bind addresses that this host does not have, or not yet (IP_FREEBIND). Shim only. */
  readonly freebind?: boolean | undefined;
  /** Whether an IPv6 socket takes IPv6 alone. Default: IPv4 too. Shim only. */
  readonly ipv6Only?: boolean | undefined;
  /** Datagrams that may wait for `recv` in the portable backend's queue. Default 2800. */
  readonly receiveQueueDatagrams?: number | undefined;
}

/** Options of `UdpSocket.fromFd`. */
export type UdpAdoptOptions = Pick<UdpBindOptions, "offload">;

/** @throws TypeError or RangeError for bad options. */
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
  checkBufferSizes(options);
}

/** The shim with its reactor, or why it is not to be used. */
export async function chooseBackend(asked: Backend | undefined): Promise<ReactorResult> {
  const wanted = asked ?? process.env[BACKEND_VARIABLE] ?? "";
  if (!["shim", "portable", ""].includes(wanted)) {
    throw rangeError(asked ? "backend" : BACKEND_VARIABLE, '"shim" or "portable"', wanted);
  }
  if (wanted === "portable") return { reason: "the portable backend was asked for" };
  const loaded = await loadReactor();
  if ("reason" in loaded) {
    if (wanted === "shim") throw unsupportedError("bind", loaded.reason);
    warnOnce(`the portable backend is used, as ${loaded.reason}`);
  }
  return loaded;
}

let hasWarned = false;

function warnOnce(message: string): void {
  if (!hasWarned) warn(message);
  hasWarned = true;
}

/** @throws SocketError with code `ERR_NOT_SUPPORTED` for what only the shim can do. */
export function refuseShimOptions(options: UdpBindOptions, reason: string): void {
  for (const name of [
    "reusePort",
    "reuseAddress",
    "transparent",
    "freebind",
    "ipv6Only",
    "recvBufferBytes",
    "sendBufferBytes",
  ] as const) {
    if (options[name]) throw unsupportedError("bind", `${name} needs the shim: ${reason}`);
  }
  if ((options.pathMtuDiscovery ?? "off") !== "off") {
    throw unsupportedError("bind", `pathMtuDiscovery needs the shim: ${reason}`);
  }
}
