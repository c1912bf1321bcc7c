/**
 * The demonstration: `npm run demo:masque`. The proxy and its clients run as programs of their own,
 * with traffic of real programs. The exit code is 0 if no check has failed.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installQuiche } from "../../quiche/install.ts";
import { makeIdentity } from "../../quiche/tls.ts";
import { Checks } from "../../tools/checks.ts";
import { loadNodeQuic } from "../node-quic.ts";
import {
  checkDig,
  checkDownload,
  checkQuiche,
  checkTunnels,
  startEcho,
  startOrigin,
} from "./checks.ts";
import { startDnsmasq, startMasque } from "./programs.ts";

const BYTES = 100_000_000;
const TUNNELS = { count: 100, rounds: 10 };
const DATAGRAMS = 100;
const NAME = "example.test";
const ADDRESS = "192.0.2.7";
/** The demonstration fails if it takes longer. */
const MS_MAX = 58_000;

const checks = new Checks();

/** Runs the demonstration, and returns the exit code. */
export async function runDemo(signal: AbortSignal): Promise<number> {
  const limit = setTimeout(() => {
    console.log(
      `masque demo: not finished after ${MS_MAX / 1e3} s\n${checks.passed} passed, 1 failed`,
    );
    process.exit(1);
  }, MS_MAX);
  const folder = mkdtempSync(join(tmpdir(), "masque-demo-"));
  signal.addEventListener("abort", () => process.exit(1));
  try {
    const { reason } = loadNodeQuic();
    if (reason === undefined) await runChecks(folder);
    else checks.skip("all", reason);
  } finally {
    rmSync(folder, { recursive: true });
    clearTimeout(limit);
  }
  const { passed, failed } = checks;
  const skipped = checks.skipped.length;
  console.log(
    `masque demo: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`,
  );
  return failed === 0 ? 0 : 1;
}

async function runChecks(folder: string): Promise<void> {
  const identity = makeIdentity();
  const file = (name: string) => join(folder, name);
  writeFileSync(file("cert.pem"), identity.certificate);
  writeFileSync(file("key.pem"), identity.key, { mode: 0o600 });
  const token = crypto.randomUUID();
  const secret = { MASQUE_TOKEN: token };
  const pem = ["--cert", file("cert.pem"), "--key", file("key.pem")];
  const serverArgs = (port: number) => [
    ...["server", "--listen", `127.0.0.1:${port}`, "--allow", "127.0.0.0/8", ...pem],
  ];
  await using stack = new AsyncDisposableStack();
  const first = await startMasque(serverArgs(0), secret);
  const { port } = first;
  const proxy = `https://localhost:${port}`;
  const startClient = (target: number, ...more: readonly string[]) => {
    const args = ["--listen", "127.0.0.1:0", "--proxy", proxy, "--ca", file("cert.pem")];
    return startMasque(["client", ...args, "--target", `127.0.0.1:${target}`, ...more], secret);
  };
  const echo = await startEcho();
  stack.defer(() => echo.close());

  const missing = ["dig", "dnsmasq"].filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) checks.skip("dig", `not installed: ${missing.join(", ")}`);
  else {
    await checks.run("dig, through the tunnel to dnsmasq", async () => {
      await using dnsmasq = await startDnsmasq(NAME, ADDRESS);
      await using client = await startClient(dnsmasq.port);
      return await checkDig(client.port, NAME, ADDRESS);
    });
  }
  await checks.run("HTTP/3 in HTTP/3, in capsules", async () => {
    const origin = startOrigin(identity, BYTES);
    try {
      await using client = await startClient(origin.port, "--capsules");
      return await checkDownload(client.port, BYTES);
    } finally {
      origin.stop();
    }
  });
  const { quiche, reason } = installQuiche();
  if (quiche === undefined) checks.skip("quiche as the client", reason);
  else {
    const options = { port, ca: identity.certificate, token, echo: echo.localAddr };
    await checks.run("quiche as the client", () =>
      checkQuiche(quiche, { ...options, datagrams: DATAGRAMS }),
    );
  }
  const client = await startClient(echo.localAddr.port);
  stack.defer(() => client[Symbol.asyncDispose]());
  await checks.run("concurrent tunnels, in DATAGRAM frames", () =>
    checkTunnels(client.port, TUNNELS),
  );
  if (checks.failed > 0) {
    console.log(`client: ${await client.end()}\nserver: ${await first.end()}`);
    return;
  }
  await checks.run("reconnects after the proxy was killed", async () => {
    await first[Symbol.asyncDispose]();
    const second = await startMasque(serverArgs(port), secret);
    stack.defer(() => second[Symbol.asyncDispose]());
    // The client notices when its connection times out, after 10 s at most.
    await checkTunnels(client.port, { count: 1, rounds: 3 }).catch(() => {});
    for (let attempt = 0; attempt < 4; attempt++) {
      const found = await checkTunnels(client.port, { count: 1, rounds: 1 }).catch(() => undefined);
      if (found !== undefined) return "a new connection, and a new tunnel for the same peers";
    }
    throw new Error("no reply");
  });
}
