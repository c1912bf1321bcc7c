/**
 * The offloads that a socket may use: those that were requested and that work on this system,
 * which `offload_probe` of c/shim.c tests over loopback.
 */

import type { Native } from "../../ffi/native.ts";
import { rangeError, typeError } from "../support/check.ts";
import { checkOptions, optionKinds } from "../support/options.ts";

/** The offloads of a socket. */
export interface Offload {
  /** Generic segmentation offload: adjacent datagrams are sent as segments of one message. */
  readonly gso: boolean;
  /** Generic receive offload: the kernel may merge received datagrams into one message. */
  readonly gro: boolean;
}

export const NO_OFFLOAD: Offload = { gso: false, gro: false };

/** The environment variable that disables offloads (`off`). */
const OFFLOAD_VARIABLE = "DATAGRAM_SOCKET_OFFLOAD";

/** The offloads that work on this system; absent until the first probe. */
let supported: Offload | undefined;

/** The `offload` option: both, none, or each of them. */
export type OffloadOption = boolean | Partial<Offload> | undefined;

/**
 * Returns the requested offloads (default: both) that work on this system. The environment
 * variable takes precedence, so that the operator of a program can disable what it requests.
 */
export function chooseOffload(native: Native, requested: OffloadOption): Offload {
  const variable = process.env[OFFLOAD_VARIABLE] ?? "";
  if (!["on", "off", ""].includes(variable)) {
    throw rangeError(OFFLOAD_VARIABLE, '"on" or "off"', variable);
  }
  if (variable === "off" || requested === false) return NO_OFFLOAD;
  if (supported === undefined) {
    const probed = native.probeOffload();
    supported = { gso: probed >= 1, gro: probed >= 2 };
  }
  if (requested === undefined || requested === true) return supported;
  return {
    gso: supported.gso && requested.gso !== false,
    gro: supported.gro && requested.gro !== false,
  };
}

const OFFLOAD = optionKinds<Offload>({ gso: "boolean", gro: "boolean" });

/** @throws TypeError for an unknown name or a value that is not a boolean. */
export function checkOffload(requested: OffloadOption): void {
  if (requested === undefined || typeof requested === "boolean") return;
  if (typeof requested !== "object" || requested === null) {
    throw typeError("offload", "boolean or object", requested);
  }
  checkOptions("offload", requested, OFFLOAD);
}
