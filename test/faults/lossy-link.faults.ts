/**
 * Traffic over a link that loses, duplicates, delays, reorders and corrupts packets, and into a
 * receive buffer that overflows. Every datagram that was sent is delivered unaltered, or counted as
 * lost by the network or the kernel; without reordering, the order is kept.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { temporaryDirectory } from "../ffi/tools.ts";
import { Namespaces, run } from "../net/namespaces.ts";
import {
  amount,
  attempt,
  compile,
  disableSegmentation,
  FAMILIES,
  families,
  nft,
  nftPackets,
  pinNeighbours,
  Receiver,
  send,
  skipReason,
  some,
  TEST_TIMEOUT_MS,
  udpMib,
} from "./tools.ts";

const reason = skipReason("tests of lossy links", ["nft", "tc", "gcc", "ethtool"]);

const PORT = 9999;
const COUNT = amount(6000, 2000);

describe.skipIf(reason !== undefined)("a lossy link", () => {
  let namespaces: Namespaces;
  beforeAll(() => {
    namespaces = new Namespaces("dfl");
    pinNeighbours(namespaces);
    disableSegmentation(namespaces);
  });
  afterAll(() => namespaces?.[Symbol.dispose]());
  afterEach(() => attempt(`ip netns exec ${namespaces.receiver} nft flush ruleset`));

  describe.each(families("IPv6"))("over %s", (family) => {
    const { near, any } = FAMILIES[family];

    const WAYS = [
      ["sendMany", "batches"],
      ["sendBatch", "recvBatch"],
      ["send", "recvFrom"],
      ["trySendMany", "recvMany"],
    ] as const;
    test.each(some(WAYS, 2))(
      "5 %% random loss: sent = delivered + dropped by the firewall, in order (%s, %s)",
      async (api, receiveApi) => {
        nft(namespaces.receiver, [
          "add table inet t",
          "add chain inet t c { type filter hook input priority 0 ; }",
          `add rule inet t c udp dport ${PORT} numgen random mod 100 lt 5 counter drop`,
        ]);
        await using receiver = await Receiver.start(namespaces.receiver, {
          hostname: any,
          port: PORT,
          api: receiveApi,
        });
        const before = udpMib(namespaces.receiver).rcvbufErrors;
        const plan = { hostname: near, port: PORT, count: COUNT, api };
        const sent = await send(namespaces.sender, { ...plan, pauseMs: api === "send" ? 0 : 1 });
        const got = await receiver.report();
        const dropped = nftPackets(namespaces.receiver);
        expect(udpMib(namespaces.receiver).rcvbufErrors).toBe(before);
        expect([sent.accepted, sent.refused]).toEqual([COUNT, []]);
        expect(sent.counters.datagramsSent).toBe(COUNT);
        expect(dropped).toBeGreaterThan(0);
        expect(got.distinct + dropped).toBe(COUNT);
        expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a receive buffer that overflows: sent = delivered + socketDrops, the kernel's count too",
      async () => {
        await using receiver = await Receiver.start(namespaces.receiver, {
          hostname: any,
          port: PORT,
          receiveBufferBytes: 16_384,
          gro: false,
          pauseMs: 5,
        });
        const before = udpMib(namespaces.receiver).rcvbufErrors;
        const plan = { hostname: near, port: PORT, bytes: 1000 };
        const flood = await send(namespaces.sender, { ...plan, count: COUNT, pauseMs: 0 });
        // A datagram reports the drops before it, so one follows when there is room.
        await Bun.sleep(300);
        await send(namespaces.sender, { ...plan, first: COUNT, count: 1 });
        const got = await receiver.report();
        const lost = udpMib(namespaces.receiver).rcvbufErrors - before;
        expect(flood.counters.datagramsSent).toBe(COUNT);
        expect(lost).toBeGreaterThan(0);
        expect(got.distinct + lost).toBe(COUNT + 1);
        expect(got.socketDrops).toBe(lost);
        expect([got.received - got.distinct, got.late, got.altered]).toEqual([0, 0, 0]);
      },
      TEST_TIMEOUT_MS,
    );
  });

  const tunReason = existsSync("/dev/net/tun") ? undefined : "no /dev/net/tun";
  if (tunReason !== undefined) console.warn(`tests with a relay are skipped: ${tunReason}`);
  describe.skipIf(tunReason !== undefined)(
    "with a relay that drops, duplicates, delays, reorders and corrupts",
    () => {
      let directory: ReturnType<typeof temporaryDirectory>;
      let program = "";
      beforeAll(() => {
        directory = temporaryDirectory();
        program = compile("tun-relay", directory.path);
      });
      afterAll(() => directory?.[Symbol.dispose]());

      const SEEDS = some([1, 2, 3, 4]);
      const CASES = families("IPv6").flatMap((family) =>
        SEEDS.map((seed) => [family, seed] as const),
      );
      test.each(CASES)(
        "sent + duplicates = delivered + dropped + checksum errors, unaltered (%s, seed %d)",
        async (family, seed) => {
          const { sender, receiver: host } = namespaces;
          await using relay = await Relay.start(program, namespaces, seed);
          const to = relay.configure(family);
          await using receiver = await Receiver.start(host, { hostname: to, api: "recvMany" });
          const before = udpMib(host).inCsumErrors;
          const plan = { hostname: to, port: receiver.port, count: COUNT, bytes: 500 };
          const sent = await send(sender, { ...plan, api: "sendBatch", pauseMs: 2 });
          const got = await receiver.report();
          const counts = await relay.stop();
          expect(sent.counters.datagramsSent).toBe(COUNT);
          expect(sent.counters.messagesSent).toBeLessThan(COUNT / 10);
          expect(counts.in).toBe(COUNT);
          const { duplicated, dropped, corrupted } = counts;
          expect(counts.out).toBe(COUNT + duplicated - dropped);
          const checksumErrors = udpMib(host).inCsumErrors - before;
          expect(checksumErrors).toBe(corrupted);
          expect(got.received + checksumErrors).toBe(counts.out);
          expect(got.altered).toBe(0);
          expect(got.late).toBeGreaterThan(0);
        },
        TEST_TIMEOUT_MS,
      );
    },
  );
});

/** The packets of one direction of a relay: in + duplicated = out + dropped. */
interface RelayCounts {
  readonly in: number;
  readonly dropped: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly corrupted: number;
  readonly out: number;
}

/** A running tun-relay.c. */
class Relay implements AsyncDisposable {
  readonly #namespaces: Namespaces;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #reader: { read(): Promise<{ value?: Uint8Array | undefined }> };

  private constructor(namespaces: Namespaces, child: Bun.Subprocess<"pipe", "pipe", "inherit">) {
    this.#namespaces = namespaces;
    this.#child = child;
    this.#reader = child.stdout.getReader();
  }

  static async start(program: string, namespaces: Namespaces, seed: number): Promise<Relay> {
    const { sender, receiver } = namespaces;
    // Per mille: loss, duplication, reordering; the delay in milliseconds; per mille: corruption.
    const settings = ["tun0", `${seed}`, "30", "40", "100", "2", "20"];
    const command = [program, sender, receiver, ...settings];
    const options = { stdin: "pipe", stdout: "pipe", stderr: "inherit" } as const;
    const relay = new Relay(namespaces, Bun.spawn(command, options));
    await relay.#reader.read();
    return relay;
  }

  /** Configures the TUN devices, and returns the address of the receiver. */
  configure(family: "IPv4" | "IPv6"): string {
    const network = family === "IPv4" ? "10.97.9." : "fd97:9::";
    const bits = family === "IPv4" ? 24 : 64;
    for (const [host, number] of [
      ["sender", 1],
      ["receiver", 2],
    ] as const) {
      const ip = `ip -n ${this.#namespaces[host]}`;
      if (family === "IPv6") {
        this.#namespaces.exec(host, "sysctl -qw net.ipv6.conf.tun0.accept_dad=0");
      }
      run(`${ip} link set tun0 mtu 1500 txqueuelen 100000 up`);
      run(`${ip} addr add ${network}${number}/${bits} dev tun0`);
    }
    return `${network}2`;
  }

  /** Delivers the delayed packets, ends, and returns the counts from the sender to the receiver. */
  async stop(): Promise<RelayCounts> {
    this.#child.stdin.end();
    const { value } = await this.#reader.read();
    return JSON.parse(new TextDecoder().decode(value))[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
