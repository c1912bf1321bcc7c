/**
 * Which offloads may be used: those that are asked for and work here, which is found out by doing
 * (`offload_probe` of c/shim.c).
 */

import type { Native } from "../../ffi/native.ts";
import { rangeError, typeError } from "../support/check.ts";

/** Which offloads may be used. */
export interface Offload {
  /** Neighbouring datagrams go out as segments of one message (GSO). */
  readonly segmentation: boolean;
  /** Datagrams may come in many to a message (GRO). */
  readonly coalescing: boolean;
}

export const NO_OFFLOAD: Offload = { segmentation: false, coalescing: false };

/** Environment variable that switches offloads off: `off`. */
const OFFLOAD_VARIABLE = "DATAGRAM_SOCKET_OFFLOAD";

let works: Offload | undefined;

/** What can be asked for: both, neither, or each for itself. */
type AskedOffload = boolean | Partial<Offload> | undefined;

/**
 * What may be used of what is `asked` for (default: all): that which works here. The environment
 * variable is whoever runs the program: it switches off what the program asks for.
 */
export function chooseOffload(native: Native, asked: AskedOffload): Offload {
  const variable = process.env[OFFLOAD_VARIABLE] ?? "";
  if (!["on", "off", ""].includes(variable)) {
    throw rangeError(OFFLOAD_VARIABLE, '"on" or "off"', variable);
  }
  if (variable === "off" || asked === false) return NO_OFFLOAD;
  if (works === undefined) {
    const probed = native.probeOffload();
    works = { segmentation: probed >= 1, coalescing: probed >= 2 };
  }
  if (asked === undefined || asked === true) return works;
  return {
    segmentation: works.segmentation && asked.segmentation !== false,
    coalescing: works.coalescing && asked.coalescing !== false,
  };
}

/** Checks what was asked for: nothing is switched on by a misspelt "off". */
export function checkOffload(asked: AskedOffload): void {
  if (asked === undefined || typeof asked === "boolean") return;
  if (typeof asked !== "object" || asked === null) {
    throw typeError("offload", "boolean or object", asked);
  }
  for (const [name, value] of Object.entries(asked)) {
    if (name !== "segmentation" && name !== "coalescing") {
      throw rangeError("offload", '"segmentation" and "coalescing" only', name);
    }
    if (value !== undefined && typeof value !== "boolean") {
      throw typeError(`offload.${name}`, "boolean", value);
    }
  }
}
