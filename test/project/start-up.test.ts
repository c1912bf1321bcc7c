/** Start-up: what a program loads until its first datagram. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { runCommand } from "../tools/sockets.ts";

const ROOT = join(import.meta.dir, "../..");

/**
 * The maximum number of modules of the sources that the first datagram may load: a module costs
 * 0.1 ms. The published package has one.
 */
const MODULES_MAX = 112;

/** Code for other kinds of systems and sockets, and the program. */
const ON_DEMAND = ["lib/engine/portable/", "lib/doctor/"];

const PROGRAM = `
const { UdpSocket } = await import(${JSON.stringify(join(ROOT, "lib/index.ts"))});
await using socket = await UdpSocket.bind({ hostname: "127.0.0.1" });
await socket.sendTo(new Uint8Array(8), socket.localAddr);
await socket.recvFrom(new Uint8Array(16));
console.log(JSON.stringify(Object.keys(require.cache)));
`;

test("the first datagram from the sources loads a bounded number of modules", async () => {
  const { exitCode, stdout, stderr } = await runCommand([process.execPath, "-e", PROGRAM], {
    DATAGRAM_SOCKET_BACKEND: "native",
  });
  expect([exitCode, stderr]).toEqual([0, ""]);
  const modules = (JSON.parse(stdout) as string[])
    .filter((path) => path.startsWith(`${ROOT}/`))
    .map((path) => path.slice(ROOT.length + 1));
  expect(modules).toContain("lib/index.ts");
  expect(modules.length).toBeLessThanOrEqual(MODULES_MAX);
  expect(modules.filter((path) => ON_DEMAND.some((folder) => path.startsWith(folder)))).toEqual([]);
});
