/** The secure tunnel: both halves with quiche between them, over loopback. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { hasPassed, runLoad } from "../../examples/flow-proxy/load-generator.ts";
import { Origin } from "../../examples/flow-proxy/origin.ts";
import {
  fingerprintOfPem,
  TUNNEL_PROTOCOL,
  TunnelError,
  type TunnelSecurity,
} from "../../examples/flow-proxy/tunnel-security.ts";
import { download, upload } from "../../examples/quiche/client.ts";
import type { CloseInfo } from "../../examples/quiche/connection.ts";
import { ID_BYTES } from "../../examples/quiche/router.ts";
import { type Identity, makeIdentity } from "../../examples/quiche/tls.ts";
import { type HostAndPort, RecvMeta, SocketAddress, UdpSocket } from "../../lib/index.ts";
import { openClient, openServer, quiche, skipReason } from "../quiche/endpoints.ts";
import { Relay } from "../quiche/relay.ts";
import {
  CHILD_TIMEOUT_MS,
  closedPort,
  HAS_IPV6,
  numbered,
  receiveNumbers,
  sequence,
  until,
} from "../tools/sockets.ts";
import { RunningProxy, runProxy } from "./proxy-process.ts";

const LOOPBACK: HostAndPort = { hostname: "127.0.0.1", port: 0 };
const LIMITS = { flowsMax: 100, idleTimeoutMs: 30_000 };
/** Packets of 1350 bytes, without what QUIC and the flow ID of 8 bytes take. */
const PAYLOAD_BYTES_MAX = 1312;

const [INGRESS, EGRESS, STRANGER] = [makeIdentity(), makeIdentity(), makeIdentity()];

const opened: { close(): void }[] = [];

function closeLater<T extends { close(): void }>(closable: T): T {
  opened.push(closable);
  return closable;
}

afterEach(() => {
  for (const closable of opened.splice(0).reverse()) closable.close();
});

function hostAndPort({ address, port }: SocketAddress): HostAndPort {
  return { hostname: address, port };
}

interface EndOptions extends Partial<TunnelSecurity> {
  readonly listen?: HostAndPort;
  readonly connectionIdBytes?: number;
  readonly peer?: Identity;
  /** What the end logs. */
  readonly lines?: string[];
}

/** The security of an end, which knows `peer`. */
function securityOf(identity: Identity, peer: Identity, options: EndOptions): TunnelSecurity {
  const log = (line: string) => void options.lines?.push(line);
  const { idleTimeoutMs, packetBytesMax } = options;
  const peers = [fingerprintOfPem(peer.certificate)];
  return { quiche, identity, peers, log, idleTimeoutMs, packetBytesMax };
}

async function openEgress(upstream: SocketAddress, options: EndOptions = {}): Promise<Egress> {
  const { listen = LOOPBACK } = options;
  const security = securityOf(EGRESS, INGRESS, options);
  return closeLater(
    await Egress.open({ listen, upstream: hostAndPort(upstream), security, ...LIMITS }),
  );
}

async function openIngress(egress: SocketAddress, options: EndOptions = {}): Promise<Ingress> {
  const { identity = INGRESS, peer = EGRESS, connectionIdBytes } = options;
  const security = securityOf(identity, peer, options);
  const addresses = { listen: LOOPBACK, tunnel: hostAndPort(egress) };
  return closeLater(await Ingress.open({ ...addresses, security, connectionIdBytes, ...LIMITS }));
}

async function bind(): Promise<UdpSocket> {
  return closeLater(await UdpSocket.bind(LOOPBACK));
}

async function clientOf(ingress: Ingress): Promise<UdpSocket> {
  return closeLater(await UdpSocket.connect(hostAndPort(ingress.localAddr)));
}

/** An upstream that echoes, and records the source ports. */
async function openUpstream(): Promise<{ address: SocketAddress; ports: Set<number> }> {
  const socket = await bind();
  const ports = new Set<number>();
  const echo = async () => {
    const buffer = new Uint8Array(2000);
    const meta = new RecvMeta();
    for (;;) {
      const { length, peer } = await socket.recvFrom(buffer);
      ports.add((peer as SocketAddress).port);
      await socket.sendTo(buffer.subarray(0, length), peer as SocketAddress);
      meta.length = length;
    }
  };
  echo().catch(() => {});
  return { address: socket.localAddr, ports };
}

/** What each client has sent. */
const requests = new WeakMap<UdpSocket, string[]>();

/** Sends a request until its reply arrives. The tunnel may be connecting, and replies may be late. */
async function exchange(client: UdpSocket, text: string): Promise<void> {
  const buffer = Buffer.alloc(2000);
  const sent = requests.get(client) ?? [];
  requests.set(client, sent);
  sent.push(text);
  for (let reply: string | undefined; reply !== text; ) {
    if (reply === undefined) await client.send(Buffer.from(text));
    const signal = AbortSignal.timeout(100);
    const length = await client.recv(buffer, { signal }).catch(() => undefined);
    reply = length === undefined ? undefined : buffer.toString("utf8", 0, length);
    if (reply !== undefined) expect(sent).toContain(reply);
  }
}

/** Waits, and returns the longest time that the event loop did not run in. */
async function sleepAndWatch(ms: number): Promise<number> {
  const endMs = performance.now() + ms;
  let stalledMs = 0;
  for (let nowMs = performance.now(); nowMs < endMs; ) {
    await Bun.sleep(10);
    const beforeMs = nowMs;
    nowMs = performance.now();
    stalledMs = Math.max(stalledMs, nowMs - beforeMs);
  }
  return stalledMs;
}

describe.skipIf(skipReason !== undefined)("a secure tunnel", () => {
  test("returns every reply under load unaltered to the right client", async () => {
    const origin = closeLater(await Origin.open({ listen: LOOPBACK }));
    const egress = await openEgress(origin.localAddr);
    const ingress = await openIngress(egress.localAddr);
    const target = hostAndPort(ingress.localAddr);
    const report = await runLoad({ target, clients: 20, durationMs: 300 });
    expect(hasPassed(report)).toBe(true);
    expect([report.altered, report.misdelivered, report.duplicated]).toEqual([0, 0, 0]);
    expect(report.replies + report.lost).toBe(report.requests);
    expect(ingress.snapshot().flows).toBe(egress.snapshot().flows);
    expect(ingress.snapshot().toUpstream.datagrams).toBeGreaterThanOrEqual(report.replies);
  });

  test.skipIf(!HAS_IPV6)(
    "forwards to an egress that listens at all addresses, over IPv4 and IPv6",
    async () => {
      const { address } = await openUpstream();
      for (const [any, host] of [
        ["0.0.0.0", "127.0.0.3"],
        ["::", "::1"],
        ["::", "127.0.0.1"],
      ] as const) {
        const egress = await openEgress(address, { listen: { hostname: any, port: 0 } });
        const ingress = await openIngress(SocketAddress.ip(host, egress.localAddr.port));
        await exchange(await clientOf(ingress), "request");
      }
    },
  );

  test("keeps the order of the datagrams of a flow", async () => {
    const upstream = await bind();
    const egress = await openEgress(upstream.localAddr);
    const client = await clientOf(await openIngress(egress.localAddr));
    await client.sendMany(numbered(60));
    expect(await receiveNumbers(upstream, 60)).toEqual(sequence(60));
  });

  test("does not reveal the payloads", async () => {
    const { address } = await openUpstream();
    const egress = await openEgress(address);
    await using relay = await Relay.open(egress.localAddr);
    const seen: Buffer[] = [];
    relay.onDatagram = (bytes) => seen.push(Buffer.from(bytes));
    const client = await clientOf(await openIngress(relay.address));
    await exchange(client, "a payload that nobody may read");
    expect(seen.length).toBeGreaterThan(4);
    expect(seen.filter((bytes) => bytes.includes("nobody may read"))).toEqual([]);
  });

  test.each([0, 1, PAYLOAD_BYTES_MAX])("forwards datagrams of %i bytes", async (length) => {
    const upstream = await bind();
    const egress = await openEgress(upstream.localAddr);
    const client = await clientOf(await openIngress(egress.localAddr));
    const payload = new Uint8Array(length).fill(7);
    await client.send(payload);
    const buffer = new Uint8Array(2000);
    const request = await upstream.recvFrom(buffer);
    expect(buffer.subarray(0, request.length)).toEqual(payload);
    await upstream.sendTo(payload, request.peer as SocketAddress);
    expect(await client.recv(buffer)).toBe(length);
  });

  test("forwards datagrams of 1500 bytes if its packets are long enough", async () => {
    const options = { packetBytesMax: 1538 };
    const upstream = await bind();
    const egress = await openEgress(upstream.localAddr, options);
    const ingress = await openIngress(egress.localAddr, options);
    const client = await clientOf(ingress);
    const payload = crypto.getRandomValues(new Uint8Array(1500));
    await client.send(payload);
    const buffer = new Uint8Array(2000);
    const { length, peer } = await upstream.recvFrom(buffer);
    expect(buffer.subarray(0, length)).toEqual(payload);
    await upstream.sendTo(payload, peer as SocketAddress);
    expect(await client.recv(buffer)).toBe(1500);
    expect(ingress.snapshot().drops.oversize + egress.snapshot().drops.oversize).toBe(0);
  });

  test("carries a QUIC connection, whose packets fit, while NATs choose other ports", async () => {
    // The stack of the connection sends packets of 1350 bytes.
    const options = { packetBytesMax: 1350 + 38 };
    await using server = await openServer();
    const egress = await openEgress(server.address, options);
    await using tunnelNat = await Relay.open(egress.localAddr);
    const ingress = await openIngress(tunnelNat.address, {
      ...options,
      connectionIdBytes: ID_BYTES,
    });
    await using clientNat = await Relay.open(ingress.localAddr);
    await using client = await openClient();
    const connection = client.endpoint.connect(clientNat.address);
    await connection.established;
    await download(connection, 10_000);
    const transfer = download(connection, 3_000_000);
    await tunnelNat.rebind();
    await clientNat.rebind();
    await transfer;
    await upload(connection, 100_000);
    expect(ingress.snapshot().drops.oversize + egress.snapshot().drops.oversize).toBe(0);
    expect(egress.snapshot().flowCounters).toMatchObject({ opened: 1, moved: 0 });
  });

  test("counts and drops datagrams that do not fit into a packet", async () => {
    const upstream = await bind();
    const egress = await openEgress(upstream.localAddr);
    const ingress = await openIngress(egress.localAddr);
    const client = await clientOf(ingress);
    for (const length of [PAYLOAD_BYTES_MAX + 1, 1500, 1501, 1000]) {
      await client.send(new Uint8Array(length));
    }
    const buffer = new Uint8Array(2000);
    const { length, peer } = await upstream.recvFrom(buffer);
    expect([length, ingress.snapshot().drops.oversize]).toEqual([1000, 3]);
    for (const bytes of [PAYLOAD_BYTES_MAX + 1, 3]) {
      await upstream.sendTo(new Uint8Array(bytes), peer as SocketAddress);
    }
    expect(await client.recv(buffer)).toBe(3);
    expect(egress.snapshot().drops.oversize).toBe(1);
    expect(ingress.snapshot().toUpstream).toEqual({ datagrams: 1, bytes: 1008 });
  });
});

describe.skipIf(skipReason !== undefined)("an ingress", () => {
  test("refuses an egress with another certificate", async () => {
    const { address } = await openUpstream();
    const lines: string[] = [];
    const egress = await openEgress(address, { lines });
    const opening = openIngress(egress.localAddr, { peer: STRANGER });
    const error = await opening.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TunnelError);
    const [found, expected] = [EGRESS, STRANGER].map((one) => fingerprintOfPem(one.certificate));
    const text = `the egress has a certificate with the fingerprint ${found}, expected ${expected}`;
    expect((error as Error).message).toBe(text);
    expect(lines.filter((line) => line.includes("connected"))).toEqual([]);
  });

  test("whose certificate is not permitted is refused by the egress", async () => {
    const { address } = await openUpstream();
    const lines: string[] = [];
    const egress = await openEgress(address, { lines });
    const opening = openIngress(egress.localAddr, { identity: STRANGER });
    const error = await opening.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TunnelError);
    expect((error as Error).message).toBe(
      "the egress does not permit the certificate of this ingress",
    );
    expect(lines.join()).toContain(fingerprintOfPem(STRANGER.certificate));
    expect(egress.snapshot().flowCounters.opened).toBe(0);
  });

  test("connects later to an egress that does not run yet, and counts what it drops", async () => {
    const { address } = await openUpstream();
    const port = await closedPort();
    const lines: string[] = [];
    const ingress = await openIngress(
      (await UdpSocket.connect({ hostname: "127.0.0.1", port })).peerAddr as SocketAddress,
      { lines, idleTimeoutMs: 500 },
    );
    const client = await clientOf(ingress);
    await client.send(Buffer.from("lost"));
    await until(() => ingress.snapshot().drops.disconnected === 1);
    expect(lines[0]).toContain("the egress does not reply; next attempt in 0.1 s");
    await openEgress(address, { listen: { hostname: "127.0.0.1", port } });
    await exchange(client, "request");
  });
});

describe.skipIf(skipReason !== undefined)("an egress", () => {
  /** Connects to an egress with quiche itself, and returns how the connection ended. */
  async function connectWith(
    identity: Identity | undefined,
    introduction: Uint8Array | undefined,
  ): Promise<{ end: CloseInfo; opened: number }> {
    const { address } = await openUpstream();
    const egress = await openEgress(address, { idleTimeoutMs: 200 });
    await using client = await openClient({
      ...{ protocol: TUNNEL_PROTOCOL, identity, onConnection: () => {} },
      ...{ trusted: undefined, acceptsAnyCertificate: true },
    });
    const connection = client.endpoint.connect(egress.localAddr);
    await connection.established;
    for (let i = 0; i < 10; i++) connection.sendDatagram(Uint8Array.of(5, 1, 2, 3));
    if (introduction !== undefined) {
      connection
        .openStream()
        .write(introduction, true)
        .catch(() => {});
    }
    const end = await connection.closed;
    return { end, opened: egress.snapshot().flowCounters.opened };
  }

  test("refuses a client without a certificate", async () => {
    const { end, opened } = await connectWith(undefined, new Uint8Array(8));
    // CRYPTO_ERROR with the alert certificate_required (RFC 9001, section 4.8; RFC 8446, section 6).
    expect([end.by, end.code, opened]).toEqual(["peer", 0x100 + 116, 0]);
  });

  test("forwards nothing of a client that it does not permit, even before it is refused", async () => {
    const { end, opened } = await connectWith(STRANGER, new Uint8Array(8));
    expect([end.by, end.reason, opened]).toEqual(["peer", "certificate not permitted", 0]);
  });

  test.each([7, 9])("refuses a session ID of %i bytes", async (length) => {
    const { end, opened } = await connectWith(INGRESS, new Uint8Array(length));
    expect([end.by, end.reason, opened]).toEqual(["peer", "no session ID", 0]);
  });

  test("forwards nothing of a permitted client without a session", async () => {
    const { end, opened } = await connectWith(INGRESS, undefined);
    expect([end.by, opened]).toEqual(["timeout", 0]);
  });
});

describe.skipIf(skipReason !== undefined)("when the connection is lost", () => {
  const idleTimeoutMs = 1000;

  test("because the egress is restarted, the ingress connects again", async () => {
    const { address, ports } = await openUpstream();
    const egress = await openEgress(address);
    const lines: string[] = [];
    const ingress = await openIngress(egress.localAddr, { lines });
    const client = await clientOf(ingress);
    await exchange(client, "before");
    const listen = hostAndPort(egress.localAddr);
    egress.close();
    await until(() => lines.some((line) => line.includes("lost: closed by the egress")));
    await client.send(Buffer.from("meanwhile"));
    await until(() => ingress.snapshot().drops.disconnected > 0);
    // The egress waits for its connections before it closes its socket.
    let restarted: Egress | undefined;
    while (restarted === undefined) {
      restarted = await openEgress(address, { listen }).catch(() => undefined);
      await Bun.sleep(10);
    }
    await exchange(client, "after");
    // The flows of the former process are gone.
    expect(ports.size).toBe(2);
  });

  test("by an outage, the flows keep their upstream ports", async () => {
    const { address, ports } = await openUpstream();
    const egress = await openEgress(address, { idleTimeoutMs });
    await using relay = await Relay.open(egress.localAddr);
    const lines: string[] = [];
    const ingress = await openIngress(relay.address, { lines, idleTimeoutMs });
    const client = await clientOf(ingress);
    await exchange(client, "before");
    relay.isDown = true;
    await until(() => lines.some((line) => line.includes("lost: the egress does not reply")));
    relay.isDown = false;
    await exchange(client, "after");
    expect(lines.filter((line) => line.includes("connected from")).length).toBeGreaterThan(1);
    expect(ports.size).toBe(1);
    expect(egress.snapshot().flowCounters).toMatchObject({ opened: 1, moved: 0 });
  });

  test("counts the datagrams that the connection had not sent", async () => {
    const { address } = await openUpstream();
    const egress = await openEgress(address);
    await using relay = await Relay.open(egress.localAddr);
    const ingress = await openIngress(relay.address, { idleTimeoutMs });
    const client = await clientOf(ingress);
    await exchange(client, "before");
    const { datagrams: before } = ingress.snapshot().toUpstream;
    relay.isDown = true;
    await client.sendMany(Array.from({ length: 200 }, () => new Uint8Array(1000)));
    await until(() => ingress.snapshot().drops.disconnected > 0);
    const { toUpstream, drops, sockets } = ingress.snapshot();
    expect(sockets.datagramsDropped).toBe(0);
    // A congestion window has been sent. Datagrams that are not repeated need not arrive.
    expect(toUpstream.datagrams - before).toBeWithin(1, 200);
    expect(toUpstream.datagrams - before + drops.disconnected).toBe(200);
  });

  test("does not end: an idle tunnel stays connected", async () => {
    const { address } = await openUpstream();
    // If the machine stalls for a third of the timeout, the attempt is inconclusive and repeated.
    for (let stalledMs = idleTimeoutMs; stalledMs > idleTimeoutMs / 3; ) {
      const lines: string[] = [];
      const egress = await openEgress(address, { idleTimeoutMs });
      const ingress = await openIngress(egress.localAddr, { lines, idleTimeoutMs });
      stalledMs = await sleepAndWatch(3 * idleTimeoutMs);
      if (stalledMs <= idleTimeoutMs / 3) expect(lines.length).toBe(1);
      await exchange(await clientOf(ingress), "after");
    }
  });
});

describe.skipIf(skipReason !== undefined)("a NAT between the halves", () => {
  test("that chooses another port does not end the session, and flows keep their ports", async () => {
    const { address, ports } = await openUpstream();
    const egress = await openEgress(address);
    await using relay = await Relay.open(egress.localAddr);
    const lines: string[] = [];
    const client = await clientOf(await openIngress(relay.address, { lines }));
    await exchange(client, "before");
    for (let i = 0; i < 6; i++) {
      await relay.rebind();
      await exchange(client, `after ${i}`);
    }
    expect(lines.length).toBe(1);
    expect([ports.size, egress.snapshot().flowCounters]).toEqual([
      1,
      expect.objectContaining({ opened: 1, moved: 0 }),
    ]);
  });

  test("that chooses another port again and again makes the ingress connect again", async () => {
    const { address, ports } = await openUpstream();
    const egress = await openEgress(address);
    await using relay = await Relay.open(egress.localAddr);
    const lines: string[] = [];
    const client = await clientOf(await openIngress(relay.address, { lines }));
    for (let i = 0; i < 20; i++) {
      await exchange(client, `request ${i}`);
      await relay.rebind();
    }
    await exchange(client, "last");
    // Not by the idle timeout.
    const lost = lines.filter((line) => line.includes("lost: "));
    expect(lost.length).toBeGreaterThan(0);
    for (const line of lost) expect(line).toEndWith("closed by the egress: too many addresses");
    expect(ports.size).toBe(1);
  });

  test("that passes nothing fills the queue, and what does not fit is counted", async () => {
    const { address } = await openUpstream();
    const egress = await openEgress(address);
    await using relay = await Relay.open(egress.localAddr);
    const ingress = await openIngress(relay.address);
    const client = await clientOf(ingress);
    relay.isDown = true;
    await until(() => {
      for (let i = 0; i < 50; i++) client.trySend(new Uint8Array(1000));
      return ingress.snapshot().drops.congested > 0;
    });
    expect(ingress.snapshot().toUpstream.datagrams).toBeGreaterThan(1000);
  });
});

describe.skipIf(skipReason !== undefined)("the command", () => {
  const LISTEN = ["--listen", "127.0.0.1:0"];
  let directory = "";
  const fileOf = (name: string) => join(directory, `${name}.pem`);
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "datagram-socket-tunnel-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** Makes the identity of an end: the command does so before it fails to resolve its peer. */
  async function makeFile(name: string): Promise<string> {
    const peer = ["--peer", join(directory, "missing.pem")];
    const args = ["egress", ...LISTEN, "--upstream", "127.0.0.1:9", "--secure"];
    const { code, stderr } = await runProxy([...args, "--identity", fileOf(name), ...peer]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("missing.pem: ENOENT")]);
    return /fingerprint of this end: ([\da-f]{64})\n/.exec(stderr)?.[1] as string;
  }

  test(
    "makes certificates, and forwards between ends that know each other",
    async () => {
      const [egressPrint, ingressPrint] = [await makeFile("egress"), await makeFile("ingress")];
      expect(statSync(fileOf("egress")).mode & 0o777).toBe(0o600);
      expect(fingerprintOfPem(readFileSync(fileOf("egress"), "utf8"))).toBe(egressPrint);
      const { address } = await openUpstream();
      const secure = (name: string) => ["--secure", "--identity", fileOf(name)];
      await using egress = await RunningProxy.start([
        ...["egress", ...LISTEN, "--upstream", `${address}`, ...secure("egress")],
        ...["--peer", "0".repeat(64), "--peer", fileOf("ingress")],
      ]);
      const towards = ["ingress", ...LISTEN, "--tunnel", egress.address];
      // As openssl(1) prints it.
      const withColons = egressPrint.toUpperCase().replace(/..(?!$)/g, "$&:");
      await using ingress = await RunningProxy.start([
        ...[...towards, ...secure("ingress"), "--peer", withColons],
      ]);
      const to = { hostname: "127.0.0.1", port: ingress.port };
      await exchange(closeLater(await UdpSocket.connect(to)), "request");
      const wrong = await runProxy([...towards, ...secure("ingress"), "--peer", ingressPrint]);
      expect([wrong.code, wrong.stderr]).toEqual([
        2,
        expect.stringContaining(`${egressPrint}, expected ${ingressPrint}\n`),
      ]);
      expect((await ingress.stop()).summary).toMatchObject({ ingress: { flows: 1 } });
      expect((await egress.stop()).code).toBe(0);
    },
    CHILD_TIMEOUT_MS,
  );

  test(
    "runs the demo with a secure tunnel",
    async () => {
      const { code, stdout, stderr } = await runProxy(["--secure", "--duration", "0.3", "--json"]);
      expect([code, JSON.parse(stdout).load.misdelivered]).toEqual([0, 0]);
      expect(stderr).toContain("secure tunnel to 127.0.0.1:");
    },
    CHILD_TIMEOUT_MS,
  );
});
