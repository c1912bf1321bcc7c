/** Runs DNS queries of `dig` to `dnsmasq` through the flow proxy. */

import { expect, test } from "bun:test";
import { UdpSocket } from "../../lib/index.ts";
import { RunningProxy } from "../flow-proxy/proxy-process.ts";
import { BACKENDS, HAS_IPV6 } from "../tools/sockets.ts";

const NAME = "example.test";
const ADDRESS = "192.0.2.7";

const missing = ["dig", "dnsmasq"].filter((tool) => Bun.which(tool) === null);
if (missing.length > 0) console.warn(`DNS tests are skipped: no ${missing.join(", no ")}`);

const LOOPBACKS = HAS_IPV6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"];

function withPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A running `dnsmasq` that serves one name. */
class Dnsmasq implements AsyncDisposable {
  readonly port: number;
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">;

  private constructor(child: Bun.Subprocess<"ignore", "ignore", "pipe">, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(host: string): Promise<Dnsmasq> {
    // A port that was free just now: `--port=0` disables DNS (dnsmasq(8)).
    const probe = await UdpSocket.bind({ hostname: host });
    const { port } = probe.localAddr;
    probe.close();
    const options = [
      "--no-daemon",
      "--conf-file=/dev/null",
      "--no-resolv",
      "--no-hosts",
      "--bind-interfaces",
      `--port=${port}`,
      `--listen-address=${host}`,
      `--address=/${NAME}/${ADDRESS}`,
    ];
    const child = Bun.spawn(["dnsmasq", ...options], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    let output = "";
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      output += part.value;
      if (!output.includes("started")) continue;
      // Keep reading, so that dnsmasq does not block on a full pipe.
      void (async () => {
        while (!(await reader.read()).done);
      })();
      return new Dnsmasq(child, port);
    }
    throw new Error(`dnsmasq ended with ${await child.exited}: ${output}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#child.exited;
  }
}

/** Returns the output of `dig` for a query, and its exit code. */
async function dig(host: string, port: number, query: readonly string[]) {
  const args = [`@${host}`, "-p", `${port}`, "+tries=3", "+time=5", ...query];
  const child = Bun.spawn(["dig", ...args], { stdout: "pipe", stderr: "pipe" });
  const [text, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  return { text, code };
}

test
  .skipIf(missing.length > 0)
  .each(LOOPBACKS.flatMap((host) => BACKENDS.map((backend) => [host, backend] as const)))(
  "dig receives the responses of dnsmasq through ingress and egress, over %s, %s backend",
  async (host, backend) => {
    await using dnsmasq = await Dnsmasq.start(host);
    const listen = ["--listen", withPort(host, 0), "--backend", backend];
    const upstream = withPort(host, dnsmasq.port);
    await using egress = await RunningProxy.start(["egress", ...listen, "--upstream", upstream]);
    await using ingress = await RunningProxy.start([
      "ingress",
      ...listen,
      "--tunnel",
      egress.address,
    ]);

    expect(await dig(host, ingress.port, [NAME, "A", "+short"])).toEqual({
      text: `${ADDRESS}\n`,
      code: 0,
    });
    // Each process is a client of its own: several flows at a time, each with its own response.
    const names = Array.from({ length: 8 }, (_, i) => `host${i}.${NAME}`);
    const responses = await Promise.all(names.map((name) => dig(host, ingress.port, [name, "A"])));
    for (const [i, { text, code }] of responses.entries()) {
      expect(code).toBe(0);
      expect(text).toContain("status: NOERROR");
      expect(text).toMatch(new RegExp(`^${names[i]}\\.\\s+0\\s+IN\\s+A\\s+${ADDRESS}$`, "m"));
    }
    const refused = await dig(host, ingress.port, ["elsewhere.invalid", "A"]);
    expect(refused.text).toContain("status: REFUSED");

    const summaries = [(await ingress.stop()).summary, (await egress.stop()).summary];
    expect(summaries).toMatchObject([
      { backend, ingress: { flows: 10, socketErrors: 0, drops: { failed: 0, malformed: 0 } } },
      { backend, egress: { flows: 10, socketErrors: 0, drops: { failed: 0, malformed: 0 } } },
    ]);
  },
  60_000,
);
