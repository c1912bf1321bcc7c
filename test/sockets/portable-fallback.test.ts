/** Without the shim: UDP goes on by the portable backend, all else says why it cannot. */

import { expect, test } from "bun:test";
import { CHILD_TIMEOUT_MS, endedWell, runScript } from "../tools/sockets.ts";

interface Answer {
  readonly backend: string;
  readonly errors: Readonly<Record<string, string>>;
  readonly lengths: readonly number[];
  readonly isPeer: boolean;
  readonly warnings: readonly string[];
}

test(
  "where cc is switched off UDP works with one warning, and errors name the reason",
  async () => {
    const child = await runScript("without-shim.ts", { flags: ["--no-ffi-cc"] });
    const { backend, errors, lengths, isPeer, warnings }: Answer = JSON.parse(endedWell(child));
    expect(backend).toBe("portable");
    expect(lengths).toEqual([1, 2]);
    expect(isPeer).toBe(true);
    // Several sockets were opened, by the default too.
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
  "asked for the portable backend by the environment nothing is warned of",
  async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "portable" };
    const child = await runScript("without-shim.ts", { env });
    const { backend, errors, lengths, warnings }: Answer = JSON.parse(endedWell(child));
    expect([backend, lengths]).toEqual(["portable", [1, 2]]);
    // Where the loop cannot be had for readiness, that is told: Unix sockets need it.
    expect(warnings.filter((warning) => !warning.includes("readiness"))).toEqual([]);
    // The shim is there for whoever names it, and for Unix sockets.
    expect(errors).toMatchObject({ pair: "no error", shim: "no error", recvmmsg: "no error" });
    expect(errors.reusePort).toStartWith("ERR_NOT_SUPPORTED");
  },
  CHILD_TIMEOUT_MS,
);

test(
  "a backend that does not exist is refused by the name of the variable",
  async () => {
    const env = { DATAGRAM_SOCKET_BACKEND: "other" };
    const child = await runScript("without-shim.ts", { env });
    expect(child.exitCode).toBe(1);
    expect(child.stderr).toContain('"DATAGRAM_SOCKET_BACKEND" expected');
  },
  CHILD_TIMEOUT_MS,
);
