/** The error of a simulation that cannot continue. */

import { isShared, sharedClass } from "../support/thread-state.ts";

/** A simulation that cannot continue. */
export class SimulationError extends Error {
  override readonly name: string = "SimulationError";
  /**
   * - `"ERR_SIM_STALLED"`: nothing is left that could settle the promise.
   * - `"ERR_SIM_TIMEOUT"`: the promise was not settled in time.
   * - `"ERR_SIM_BUSY"`: the code under test calls `setImmediate` without end.
   */
  readonly code: "ERR_SIM_STALLED" | "ERR_SIM_TIMEOUT" | "ERR_SIM_BUSY";

  /** @internal */
  constructor(code: SimulationError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

if (isShared("SimulationError", SimulationError)) {
  // @ts-expect-error See `isShared`.
  SimulationError = sharedClass("SimulationError");
}
