/**
 * The choice of the backend: without the C shim UDP falls back to the portable backend, and calls
 * that need the shim fail with the reason.
 */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, endedWell, runScript } from "../tools/sockets.ts";

/** The output of without-shim.ts. */
interface Output {
  readonly backend: string;
  readonly errors: Readonly<Record<string, string>>;
  readonly lengths: readonly number[];
  readonly isPeer: boolean;
  readonly warnings: readonly string[];
}

test(
  "with --no-ffi-cc UDP works after one warning, and calls that need the shim name the reason",
  async () => {
    const child = await runScript("without-shim.ts", { flags: ["--no-ffi-cc"] });
    const { backend, errors, lengths, isPeer, warnings }: Output = JSON.parse(endedWell(child));
    expect(backend).toBe("portable");
    expect(lengths).toEqual([1, 2]);
    expect(isPeer).toBe(true);
    // One warning for several sockets.
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toStartWith("DatagramSocketWarning: the portable backend is used");
    for (const [call, error] of Object.entries(errors)) {
      expect([call, error.split(" ", 1)[0]]).toEqual([call, "ERR_NOT_SUPPORTED"]);
      expect(error).toContain("ERR_FFI_CC_DISABLED");
    }
  },
  CHILD_TIMEOUT_MS,
);

test(
  "with DATAGRAM_SOCKET_BACKEND=portable UDP uses the portable backend without a warning",
  async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "portable" };
    const child = await runScript("without-shim.ts", { env });
    const { backend, errors, lengths, warnings }: Output = JSON.parse(endedWell(child));
    expect([backend, lengths]).toEqual(["portable", [1, 2]]);
    // Unix sockets use the shim, and may warn that readiness uses a helper thread.
    expect(warnings.filter((warning) => !warning.includes("readiness"))).toEqual([]);
    // `backend: "native"`, Unix sockets and recvmmsg still use the shim.
    expect(errors).toMatchObject({ pair: "no error", shim: "no error", recvmmsg: "no error" });
    expect(errors.reusePort).toStartWith("ERR_NOT_SUPPORTED");
  },
  CHILD_TIMEOUT_MS,
);

test(
  "an unknown DATAGRAM_SOCKET_BACKEND is an error that names the variable",
  async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "other" };
    const child = await runScript("without-shim.ts", { env });
    expect(child.exitCode).toBe(1);
    expect(child.stderr).toContain('"DATAGRAM_SOCKET_BACKEND" expected');
  },
  CHILD_TIMEOUT_MS,
);
