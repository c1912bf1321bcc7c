/** Host names: resolved in the family of the socket, with failures that name the host. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import type { Backend } from "../../lib/index.ts";
import { UdpSocket } from "../../lib/index.ts";
import { BACKENDS, CHILD_TIMEOUT_MS, NO_HOST, rejection } from "../tools/sockets.ts";
import { run } from "./namespaces.ts";
import { runIn } from "./run-in.ts";

/** `ip netns exec` mounts the files of this directory over those of /etc. */
const NAMESPACE = `dgh${process.pid}`;
const ETC = `/etc/netns/${NAMESPACE}`;

const HOSTS = `
127.0.0.1 both.test ipv4.test
::1 both.test
fd00::7 ipv6.test
127.0.0.7 other.test
`;

/** No name server has this address. */
const RESOLV_CONF = "nameserver 127.0.0.99\noptions timeout:1 attempts:1\n";

function setUp(): void {
  mkdirSync(ETC, { recursive: true });
  writeFileSync(`${ETC}/hosts`, HOSTS);
  writeFileSync(`${ETC}/resolv.conf`, RESOLV_CONF);
  run(`ip netns add ${NAMESPACE}`);
  run(`ip -n ${NAMESPACE} link set lo up`);
  run(`ip -n ${NAMESPACE} addr add fd00::7/128 dev lo nodad`);
}

function tearDown(): void {
  Bun.spawnSync(["ip", "netns", "del", NAMESPACE]);
  rmSync(ETC, { recursive: true, force: true });
}

function reasonToSkip(): string | undefined {
  if (Bun.which("ip") === null) return "no ip";
  try {
    setUp();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    tearDown();
  }
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`skipped: host names in a namespace: ${reason}`);

/** Options of `bind`, and the addresses of the socket or the code and address of the error. */
interface Case {
  readonly hostname?: string;
  readonly connect?: string;
  readonly ipv6Only?: boolean;
  readonly expected:
    | readonly [local: string, peer?: string]
    | readonly [code: string, host: string];
}

const CASES: readonly Case[] = [
  // The peer, in the family of the socket.
  { hostname: "0.0.0.0", connect: "both.test", expected: ["127.0.0.1", "127.0.0.1"] },
  { hostname: "127.0.0.1", connect: "both.test", expected: ["127.0.0.1", "127.0.0.1"] },
  { hostname: "::1", connect: "both.test", expected: ["::1", "::1"] },
  { hostname: "::", connect: "both.test", expected: ["::1", "::1"] },
  { hostname: "::", connect: "ipv4.test", expected: ["::ffff:127.0.0.1", "::ffff:127.0.0.1"] },
  { hostname: "::", connect: "ipv6.test", expected: ["fd00::7", "fd00::7"] },
  { connect: "ipv4.test", expected: ["127.0.0.1", "127.0.0.1"] },
  { connect: "ipv6.test", expected: ["fd00::7", "fd00::7"] },
  // The local address, in the family of the peer.
  { hostname: "both.test", connect: "127.0.0.1", expected: ["127.0.0.1", "127.0.0.1"] },
  { hostname: "both.test", connect: "::1", expected: ["::1", "::1"] },
  { hostname: "both.test", connect: "ipv4.test", expected: ["127.0.0.1", "127.0.0.1"] },
  { hostname: "both.test", connect: "ipv6.test", expected: ["::1", "fd00::7"] },
  { hostname: "both.test", connect: "other.test", expected: ["127.0.0.1", "127.0.0.7"] },
  { hostname: "ipv4.test", expected: ["127.0.0.1"] },
  { hostname: "ipv6.test", expected: ["fd00::7"] },
  // Names without an address in the family.
  { hostname: "::1", connect: "ipv4.test", expected: ["ENOTFOUND", "ipv4.test"] },
  { hostname: "ipv6.test", connect: "ipv4.test", expected: ["ENOTFOUND", "ipv4.test"] },
  { hostname: "0.0.0.0", connect: "ipv6.test", expected: ["EAI_AGAIN", "ipv6.test"] },
  // Names that the hosts file does not have: the name server does not respond.
  { hostname: "unknown.test", expected: ["EAI_AGAIN", "unknown.test"] },
  { connect: "unknown.test", expected: ["EAI_AGAIN", "unknown.test"] },
];

const NATIVE_CASES: readonly Case[] = [
  { ipv6Only: true, connect: "both.test", expected: ["::1", "::1"] },
  { ipv6Only: true, hostname: "both.test", expected: ["::1"] },
  { ipv6Only: true, connect: "ipv4.test", expected: ["EAI_AGAIN", "ipv4.test"] },
  { ipv6Only: true, expected: ["::"] },
];

describe.skipIf(reason !== undefined)("in a namespace with a hosts file", () => {
  beforeAll(setUp);
  afterAll(tearDown);

  function outcomes(backend: Backend, cases: readonly Case[]) {
    return runIn(
      NAMESPACE,
      async ({ SocketError, UdpSocket }, { backend, cases }) => {
        const outcomes: unknown[] = [];
        for (const { connect, expected: _, ...options } of cases) {
          const peer = connect === undefined ? {} : { connect: { hostname: connect, port: 9 } };
          try {
            const socket = await UdpSocket.bind({ backend, ...options, ...peer });
            const { localAddr, peerAddr } = socket;
            outcomes.push([localAddr, ...(peerAddr ? [peerAddr] : [])].map((a) => a.address));
            socket.close();
          } catch (error) {
            if (!(error instanceof SocketError)) throw error;
            const { code, address, syscall, errno } = error;
            outcomes.push(syscall === "getaddrinfo" && errno === 0 ? [code, address] : `${error}`);
          }
        }
        return outcomes;
      },
      { backend, cases },
    );
  }

  test.each(BACKENDS)(
    "the addresses of both ends are of one family, %s backend",
    async (backend) => {
      const cases = backend === "native" ? [...CASES, ...NATIVE_CASES] : CASES;
      const results = await outcomes(backend, cases);
      for (const [i, { expected, ...options }] of cases.entries()) {
        expect([options, results[i]]).toEqual([options, expected]);
      }
    },
    CHILD_TIMEOUT_MS,
  );
});

describe.each(BACKENDS)("%s backend", (backend) => {
  test("a name that does not exist fails with ENOTFOUND, the name and syscall getaddrinfo", async () => {
    const calls = [
      () => UdpSocket.bind({ hostname: NO_HOST, backend }),
      () => UdpSocket.bind({ connect: { hostname: NO_HOST, port: 53 }, backend }),
      () => UdpSocket.connect({ hostname: NO_HOST, port: 53 }, { hostname: "127.0.0.1", backend }),
    ];
    for (const call of calls) {
      const error = await rejection(call());
      expect(error).toMatchObject({
        name: "SocketError",
        code: "ENOTFOUND",
        errno: 0,
        syscall: "getaddrinfo",
        address: NO_HOST,
        port: undefined,
      });
      expect((error as Error).message).toBe(`getaddrinfo ${NO_HOST} ENOTFOUND`);
      expect((error as Error).cause).toBeInstanceOf(Error);
    }
  });

  test("an empty name is a TypeError, without a warning", async () => {
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown) => warnings.push(warning);
    process.on("warning", onWarning);
    const message = 'expected IP address or name, got ""';
    const bound = await rejection(UdpSocket.bind({ hostname: "", backend }));
    expect(bound).toEqual(new TypeError(`"hostname" ${message}`));
    const connect = { hostname: "", port: 53 };
    const connected = await rejection(UdpSocket.bind({ connect, backend }));
    expect(connected).toEqual(new TypeError(`"connect.hostname" ${message}`));
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("addresses of different families are refused by the system", async () => {
    const connect = { hostname: "::1", port: 53 };
    const error = await rejection(UdpSocket.bind({ hostname: "127.0.0.1", connect, backend }));
    expect(error).toMatchObject({ name: "SocketError", syscall: "connect", address: "::1" });
  });
});
