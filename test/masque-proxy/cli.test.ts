/** The command line. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { HELP, readCommandLine, UsageError } from "../../examples/masque/cli.ts";

const MAIN = join(import.meta.dir, "../../examples/masque/main.ts");
const SERVER = ["server", "--listen", "127.0.0.1:0", "--allow", "*:443"];
const CLIENT = ["client", "--listen", "127.0.0.1:0", "--proxy", "https://p", "--target", "a.b:53"];

function read(args: readonly string[], environment = {}) {
  return readCommandLine(args, environment);
}

describe("readCommandLine", () => {
  test("without arguments runs the demo, and --help wins", () => {
    expect(read([])).toEqual({ role: "demo" });
    expect(read(["server", "--help"])).toBe("help");
  });

  test("names every option in the help", () => {
    for (const name of ["listen", "allow", "cert", "key", "token-file", "proxy", "target", "ca"]) {
      expect(HELP).toContain(`--${name}`);
    }
  });

  test("reads a server and a client", () => {
    const server = read([...SERVER, "--idle-timeout", "1.5", "--retry"], { MASQUE_TOKEN: "abc" });
    expect(server).toMatchObject({
      role: "server",
      options: { idleTimeoutMs: 1500, tokens: ["abc"], validatesAddresses: true },
    });
    expect(read([...CLIENT, "--capsules"])).toMatchObject({
      options: {
        template: "https://p/.well-known/masque/udp/{target_host}/{target_port}/",
        target: { host: "a.b", port: 53 },
        usesCapsules: true,
      },
    });
  });

  for (const [name, args] of [
    ["an unknown role", ["proxy"]],
    ["a second argument", ["server", "x"]],
    ["a server without --listen", ["server", "--allow", "*"]],
    ["a server without --allow", ["server", "--listen", "127.0.0.1:0"]],
    ["a wrong rule", [...SERVER, "--allow", "10.0.0.0/33"]],
    ["--cert without --key", [...SERVER, "--cert", "x"]],
    ["a file that does not exist", [...SERVER, "--cert", "/nowhere", "--key", "/nowhere"]],
    ["an option of the client", [...SERVER, "--capsules"]],
    ["a wrong address", ["server", "--listen", "nowhere", "--allow", "*"]],
    ["a wrong port", ["server", "--listen", "127.0.0.1:65536", "--allow", "*"]],
    ["a wrong number", [...SERVER, "--max-tunnels", "0"]],
    ["a wrong time", [...SERVER, "--idle-timeout", "-1"]],
    ["a client without --proxy", CLIENT.toSpliced(3, 2)],
    ["a proxy without TLS", [...CLIENT, "--proxy", "http://p"]],
    ["a proxy that is no URL", [...CLIENT, "--proxy", "p"]],
    ["a target without a port", [...CLIENT, "--target", "a.b"]],
    ["target port 0", [...CLIENT, "--target", "a.b:0"]],
  ] as const) {
    test(`refuses ${name}`, () => {
      expect(() => read(args)).toThrow(UsageError);
    });
  }

  test("refuses a malformed token without printing it", () => {
    expect(() => read(SERVER, { MASQUE_TOKEN: "se cret" })).toThrow(/^a token contains/);
  });
});

describe("the program", () => {
  test("prints usage errors on one line, with exit code 2", () => {
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, MAIN, "server"]);
    expect(exitCode).toBe(2);
    expect(stderr.toString()).toMatch(/^masque: [^\n]+\n$/);
  });
});
