/**
 * The offloads that a socket may use: those that were requested and that work on this system,
 * which `offload_probe` of c/shim.c tests over loopback.
 */

import type { Native } from "../../ffi/native.ts";
import { typeError } from "../support/check.ts";
import { readVariable } from "../support/environment.ts";
import { SocketError } from "../support/errors.ts";
import { isLack } from "../support/native.ts";
import { checkOptions, optionKinds } from "../support/options.ts";

/** The offloads of a socket. */
export interface Offload {
  /** Generic segmentation offload: adjacent datagrams are sent as segments of one message. */
  readonly gso: boolean;
  /** Generic receive offload: the kernel may merge received datagrams into one message. */
  readonly gro: boolean;
}

export const NO_OFFLOAD: Offload = { gso: false, gro: false };

/** The offloads that work on this system; absent until the first probe. */
let supported: Offload | undefined;

/** The `offload` option: both, none, or each of them. */
export type OffloadOption = boolean | Partial<Offload> | undefined;

/**
 * Returns the requested offloads (default: both) that work on this system. The environment
 * variable takes precedence, so that the operator of a program can disable what it requests.
 *
 * @throws SocketError if the process is out of descriptors or memory; RangeError for an invalid
 * value of the variable.
 */
export function chooseOffload(native: Native, requested: OffloadOption): Offload {
  const variable = readVariable("DATAGRAM_SOCKET_OFFLOAD");
  if (variable === "off" || requested === false) return NO_OFFLOAD;
  const { gso, gro } = supported ?? probeOffload(native);
  if (requested === undefined || requested === true) return { gso, gro };
  return { gso: gso && requested.gso !== false, gro: gro && requested.gro !== false };
}

/** Returns the offloads that work. If they cannot be tested now, a later call tests them again. */
function probeOffload(native: Native): Offload {
  const probed = native.probeOffload();
  if (isLack(-probed)) throw new SocketError({ errno: -probed, syscall: "socket" });
  // For instance, loopback is not up yet.
  if (probed < 0) return NO_OFFLOAD;
  supported = { gso: probed >= 1, gro: probed >= 2 };
  return supported;
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
