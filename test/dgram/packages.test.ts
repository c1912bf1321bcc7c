/** Packages of npm run on this library in the place of `node:dgram`, unmodified. */

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BACKENDS, CHILD_TIMEOUT_MS, runCommand } from "../tools/sockets.ts";

const ROOT = join(import.meta.dir, "../..");

const DEPENDENCIES = {
  "bonjour-service": "1.4.4",
  coap: "1.5.0",
  dns2: "3.0.0",
  "hot-shots": "17.1.1",
  "multicast-dns": "7.2.5",
  "node-statsd": "0.1.1",
  "syslog-client": "1.1.1",
  werift: "0.25.2",
};

/** Uses each package, and prints what arrived. */
const PROGRAM = `
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createRequire } from "node:module";
import * as ours from "datagram-socket/dgram";
import { RTCPeerConnection } from "werift";

const require = createRequire(import.meta.url);
console.log("replaced:", createSocket === ours.createSocket, require("dgram").Socket === ours.Socket);
const host = "127.0.0.1";

/** Sends with a package to a new socket, and prints the first datagram that arrives. */
async function print(name, send) {
  const socket = createSocket("udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  const arrived = once(socket, "message");
  const end = await send(socket.address().port);
  console.log(\`\${name}:\`, String((await arrived)[0]).trim());
  socket.close();
  end?.();
}

const StatsD = require("hot-shots");
await print("hot-shots", (port) => {
  const client = new StatsD({ host, port });
  client.increment("requests");
  return () => client.close();
});
const NodeStatsD = require("node-statsd");
await print("node-statsd", (port) => {
  const client = new NodeStatsD({ host, port });
  client.gauge("load", 2);
  return () => client.close();
});
const syslog = require("syslog-client");
await print("syslog-client", (port) => {
  const options = { port, transport: syslog.Transport.Udp, syslogHostname: "host", appName: "app" };
  const client = syslog.createClient(host, options);
  client.log("hello");
  return () => client.close();
});

const dns2 = require("dns2");
{
  const server = dns2.createServer({
    udp: true,
    handle(request, send) {
      const response = dns2.Packet.createResponseFromRequest(request);
      const [{ name }] = request.questions;
      const { A } = dns2.Packet.TYPE;
      response.answers.push({ name, type: A, class: 1, ttl: 300, address: "192.0.2.1" });
      send(response);
    },
  });
  const { udp } = await server.listen({ udp: { port: 0, address: host } });
  const resolve = dns2.UDPClient({ dns: host, port: udp.port });
  console.log("dns2:", (await resolve("example.com")).answers[0].address);
  await server.close();
}

const coap = require("coap");
{
  const server = coap.createServer((request, response) => response.end(\`hello \${request.url}\`));
  await new Promise((resolve) => server.listen(0, host, resolve));
  const request = coap.request({ hostname: host, port: server._sock.address().port, pathname: "/coap" });
  request.end();
  const [response] = await once(request, "response");
  console.log("coap:", String(response.payload));
  server.close();
}

const multicastDns = require("multicast-dns");
{
  const port = 15_353;
  const options = { port, interface: host, bind: "0.0.0.0" };
  const responder = multicastDns(options);
  const querier = multicastDns(options);
  await Promise.all([once(responder, "ready"), once(querier, "ready")]);
  responder.on("query", ({ questions }) => {
    if (questions[0]?.name !== "printer.local") return;
    responder.respond([{ name: "printer.local", type: "A", ttl: 300, data: "192.0.2.2" }]);
  });
  const answered = once(querier, "response");
  querier.query("printer.local", "A");
  console.log("multicast-dns:", (await answered)[0].answers[0].data);
  responder.destroy();
  querier.destroy();
}

const { Bonjour } = require("bonjour-service");
{
  const options = { port: 15_354, interface: host, bind: "0.0.0.0" };
  const publisher = new Bonjour(options);
  const browser = new Bonjour(options);
  publisher.publish({ name: "web", type: "http", port: 8080, probe: false, disableIPv6: true });
  const service = await new Promise((resolve) => browser.findOne({ type: "http" }, 5000, resolve));
  console.log("bonjour-service:", service?.name, service?.port);
  publisher.destroy();
  browser.destroy();
}

{
  const [near, far] = [0, 1].map(() => new RTCPeerConnection({ iceServers: [] }));
  const channel = near.createDataChannel("test");
  far.onDataChannel.subscribe((other) => other.onMessage.subscribe((data) => other.send(data)));
  await near.setLocalDescription(await near.createOffer());
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription(await far.createAnswer());
  await near.setRemoteDescription(far.localDescription);
  await new Promise((resolve) => {
    channel.stateChanged.subscribe((state) => state === "open" && resolve());
  });
  const echoed = [];
  await new Promise((resolve) => {
    channel.onMessage.subscribe((data) => echoed.push(Number(data)) === 50 && resolve());
    for (let i = 0; i < 50; i++) channel.send(String(i));
  });
  console.log("werift:", echoed.length, echoed.every((value, i) => value === i));
}
process.exit();
`;

/** Registers the replacement before the modules of the program are loaded. */
const START = `
await import("datagram-socket/dgram/register");
await import("./main.mjs");
`;

const PRINTED = [
  "replaced: true true",
  "hot-shots: requests:1|c",
  "node-statsd: load:2|g",
  expect.stringMatching(/^syslog-client: <\d+>.* host hello$/),
  "dns2: 192.0.2.1",
  "coap: hello /coap",
  "multicast-dns: 192.0.2.2",
  "bonjour-service: web 8080",
  "werift: 50 true",
];

const workspace = mkdtempSync(join(tmpdir(), "datagram-socket-dgram-"));
afterAll(() => rmSync(workspace, { recursive: true }));

test(
  "multicast-dns, bonjour-service, dns2, hot-shots, node-statsd, syslog-client, coap, werift",
  async () => {
    const project = join(workspace, "project");
    mkdirSync(project);
    const manifest = { private: true, dependencies: DEPENDENCIES };
    writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
    writeFileSync(join(project, "main.mjs"), PROGRAM);
    writeFileSync(join(project, "start.mjs"), START);
    const install = [process.execPath, "install", "--ignore-scripts", "--cwd", project];
    const installed = await runCommand(install);
    if (/ConnectionRefused|Timeout|failed to resolve|ENOTFOUND/i.test(installed.stderr)) {
      console.warn(`skipped, no registry: ${installed.stderr}`);
      return;
    }
    expect([installed.exitCode, installed.stderr]).toEqual([0, expect.any(String)]);
    symlinkSync(ROOT, join(project, "node_modules/datagram-socket"));
    const preload = ["--preload", join(project, "node_modules/datagram-socket/lib/dgram/register")];
    const runs = {
      native: [...preload, join(project, "main.mjs")],
      portable: [join(project, "start.mjs")],
    };
    for (const backend of BACKENDS) {
      const command = [process.execPath, ...runs[backend]];
      const { exitCode, stdout, stderr } = await runCommand(command, {
        DATAGRAM_SOCKET_BACKEND: backend,
      });
      expect([exitCode, stderr]).toEqual([0, ""]);
      expect(stdout.trim().split("\n")).toEqual(PRINTED);
    }
  },
  CHILD_TIMEOUT_MS,
);

test("after a static import, named imports of the same program are those of Bun", async () => {
  const program = `
    import ${JSON.stringify(join(ROOT, "lib/dgram/register/index.ts"))};
    import dgram, { createSocket } from "node:dgram";
    const own = await import(${JSON.stringify(join(ROOT, "lib/dgram/index.ts"))});
    console.log(dgram.createSocket === own.createSocket, createSocket === own.createSocket);
  `;
  expect(await runCommand([process.execPath, "-e", program])).toMatchObject({
    stdout: "true false\n",
    exitCode: 0,
  });
});

test("a preload replaces the module for import and require", async () => {
  const preload = join(ROOT, "lib/dgram/register/index.ts");
  const program = `
    import dgram, { createSocket } from "dgram";
    const own = await import(${JSON.stringify(join(ROOT, "lib/dgram/index.ts"))});
    const required = require("node:dgram");
    console.log([dgram, required].every(({ Socket }) => Socket === own.Socket));
    console.log(createSocket === own.createSocket);
  `;
  const command = [process.execPath, "--preload", preload, "-e", program];
  expect(await runCommand(command)).toMatchObject({
    exitCode: 0,
    stdout: "true\ntrue\n",
    stderr: "",
  });
});
