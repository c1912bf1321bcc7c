/**
 * The fallback from GSO to single datagrams. Sender and receiver are in network namespaces that are
 * connected by veth pairs, whose offloads and MTU are changed. Whatever is refused, each datagram
 * arrives once.
 *
 * Linux 6.11 and later accepts GSO messages for devices without checksum offload. Refusals are
 * therefore also simulated by a seccomp filter, which needs no namespace.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { NO_OFFLOAD_REASON } from "../tools/offload.ts";
import { rejection } from "../tools/sockets.ts";
import type {
  ReceivePlan,
  ReceiveReport,
  SendPlan,
  SendReport,
  SendStep,
} from "./offload-endpoint.ts";

const ID = `dgo${process.pid}`;
const [SENDER, RECEIVER] = [`${ID}s`, `${ID}r`];
/** Two links: the device name, the same in both namespaces, and the network addresses. */
const LINKS = [
  { device: "near", network: "10.98.1", network6: "fd98:1:" },
  { device: "far", network: "10.98.2", network6: "fd98:2:" },
] as const;
const NEAR = LINKS[0].device;
const SCRIPT = join(import.meta.dir, "offload-endpoint.ts");
const TIMEOUT_MS = 30_000;

function run(command: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command.split(" "));
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString().trim()}`);
  return stdout.toString();
}

function setUp(): void {
  for (const namespace of [SENDER, RECEIVER]) {
    run(`ip netns add ${namespace}`);
    run(`ip -n ${namespace} link set lo up`);
  }
  for (const { device, network, network6 } of LINKS) {
    run(`ip link add ${device} netns ${SENDER} type veth peer name ${device} netns ${RECEIVER}`);
    for (const [i, namespace] of [SENDER, RECEIVER].entries()) {
      run(`ip -n ${namespace} addr add ${network}.${i + 1}/24 dev ${device}`);
      run(`ip -n ${namespace} addr add ${network6}:${i + 1}/64 dev ${device} nodad`);
      run(`ip -n ${namespace} link set ${device} up`);
    }
  }
}

function tearDown(): void {
  for (const namespace of [SENDER, RECEIVER]) Bun.spawnSync(["ip", "netns", "del", namespace]);
}

/** Returns why these tests cannot run here: a tool, a permission or offload is missing. */
function reasonToSkip(): string | undefined {
  if (NO_OFFLOAD_REASON !== undefined) return NO_OFFLOAD_REASON;
  const missing = ["ip", "ethtool"].filter((tool) => Bun.which(tool) === null);
  if (missing.length > 0) return `no ${missing.join(", no ")}`;
  try {
    setUp();
    run(`ip netns exec ${SENDER} ethtool -K ${NEAR} tx off`);
  } catch (error) {
    return (error as Error).message;
  } finally {
    tearDown();
  }
  return undefined;
}

const reason = reasonToSkip();
if (reason !== undefined) console.warn(`offload tests in namespaces are skipped: ${reason}`);

/** Configures the sender's near device, and resets all other settings to the default. */
function setDevice(setting: { features?: string; mtu?: number }): void {
  const inSender = `ip netns exec ${SENDER}`;
  run(`${inSender} ethtool -K ${NEAR} tx on tx-udp-segmentation on`);
  if (setting.features) run(`${inSender} ethtool -K ${NEAR} ${setting.features}`);
  run(`ip -n ${SENDER} link set ${NEAR} mtu ${setting.mtu ?? 1500}`);
}

/** Starts an endpoint in a namespace; `null`: the namespace of this process. */
function start(namespace: string | null, mode: string, plan: SendPlan | ReceivePlan) {
  const prefix = namespace === null ? [] : ["ip", "netns", "exec", namespace];
  return Bun.spawn([...prefix, process.execPath, SCRIPT, mode, JSON.stringify(plan)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** A receiver process. */
class Receiver implements AsyncDisposable {
  readonly address: string;
  readonly #child: ReturnType<typeof start>;
  readonly #lines: AsyncIterator<string>;

  private constructor(
    child: ReturnType<typeof start>,
    lines: AsyncIterator<string>,
    address: string,
  ) {
    this.#child = child;
    this.#lines = lines;
    this.address = address;
  }

  static async start(plan: ReceivePlan, namespace: string | null = RECEIVER): Promise<Receiver> {
    const child = start(namespace, "receive", plan);
    const lines = linesOf(child.stdout);
    const { value } = await lines.next();
    if (value === undefined) throw new Error(await new Response(child.stderr).text());
    return new Receiver(child, lines, value);
  }

  /** Waits for the end of the sender's datagrams, and returns the report. */
  async report(): Promise<ReceiveReport> {
    return JSON.parse((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#child.exited;
  }
}

async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string, undefined> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
  return undefined;
}

/** Runs a sender, and returns its report. */
async function send(plan: SendPlan, namespace: string | null = SENDER): Promise<SendReport> {
  const child = start(namespace, "send", plan);
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Returns a step that sends `count` datagrams of `bytes` bytes to `to`. */
function step(to: string, count: number, bytes: number, isBatch = false): SendStep {
  return { datagrams: Array.from({ length: count }, () => [to, bytes] as const), isBatch };
}

/** Returns the number and the length of each datagram that is sent to `address`. */
function expectedAt(address: string, steps: readonly SendStep[]): [number, number][] {
  return steps
    .flatMap(({ datagrams }) => datagrams)
    .map(([to, bytes], number) => [to, number, bytes] as const)
    .filter(([to]) => to === address)
    .map(([, number, bytes]) => [number, bytes]);
}

async function expectComplete(
  receiver: Receiver,
  steps: readonly SendStep[],
): Promise<ReceiveReport> {
  const report = await receiver.report();
  expect(report.received).toEqual(expectedAt(receiver.address, steps));
  expect(report.altered).toBe(0);
  return report;
}

describe.skipIf(reason !== undefined)("GSO between two namespaces", () => {
  beforeAll(setUp);
  afterAll(tearDown);

  describe.each([
    { family: "IPv4", near: "10.98.1.2", far: "10.98.2.2", local: "0.0.0.0" },
    { family: "IPv6", near: "fd98:1::2", far: "fd98:2::2", local: "::" },
    { family: "IPv4 from a dual-stack socket", near: "10.98.1.2", far: "10.98.2.2", local: "::" },
  ])("$family", ({ near, far, local }) => {
    test.each([true, false])(
      "64 datagrams are sent in 2 messages and arrive, with offload %p at the receiver",
      async (offload) => {
        setDevice({});
        await using receiver = await Receiver.start({ hostname: near, offload });
        const steps = [step(receiver.address, 64, 1200), step(receiver.address, 10, 1400)];
        expect(await send({ hostname: local, steps })).toEqual({
          messages: [2, 1],
          refusals: [0, 0],
          warnings: [],
        });
        const { messagesReceived } = await expectComplete(receiver, steps);
        expect(messagesReceived).toBe(offload ? 3 : 74);
      },
      TIMEOUT_MS,
    );

    test.each(["sendMany", "sendBatch"])(
      "a device without checksum offload: each datagram of %s arrives once",
      async (call) => {
        setDevice({ features: "tx off" });
        await using receiver = await Receiver.start({ hostname: near });
        const isBatch = call === "sendBatch";
        const steps = [50, 10, 2].map((count) => step(receiver.address, count, 1200, isBatch));
        const report = await send({ hostname: local, steps });
        // Linux 6.11 and later computes the checksums itself. Before, the send fails with EIO.
        const refused = {
          messages: [50, 10, 2],
          refusals: [1, 0, 0],
          warnings: ["GSO segments of 1200 bytes were refused (EIO) and are sent one by one"],
        };
        const accepted = { messages: [1, 1, 1], refusals: [0, 0, 0], warnings: [] };
        expect(report).toEqual(report.refusals[0] === 0 ? accepted : refused);
        await expectComplete(receiver, steps);
      },
      TIMEOUT_MS,
    );

    test(
      "a device without segmentation offload: the kernel segments, and no message is refused",
      async () => {
        setDevice({ features: "tx-udp-segmentation off" });
        await using receiver = await Receiver.start({ hostname: near });
        const steps = [step(receiver.address, 50, 1200), step(receiver.address, 10, 5)];
        expect(await send({ hostname: local, steps })).toEqual({
          messages: [1, 1],
          refusals: [0, 0],
          warnings: [],
        });
        await expectComplete(receiver, steps);
      },
      TIMEOUT_MS,
    );

    test.each(["sendMany", "sendBatch"])(
      "an MTU below the segment length disables GSO for that length and that peer only (%s)",
      async (call) => {
        setDevice({ mtu: 1280 });
        await using a = await Receiver.start({ hostname: near });
        await using b = await Receiver.start({ hostname: far });
        const isBatch = call === "sendBatch";
        const mixed = [a, a, b, b, a, a].map(({ address }) => [address, 1400] as const);
        const steps = [
          step(a.address, 10, 1400, isBatch),
          step(a.address, 10, 1200, isBatch),
          step(b.address, 10, 1400, isBatch),
          step(a.address, 10, 1400, isBatch),
          { datagrams: mixed, isBatch },
        ];
        const report = await send({ hostname: local, steps });
        expect(report).toMatchObject({
          messages: [10, 1, 1, 10, 2 + 1 + 2],
          refusals: [1, 0, 0, 0, 0],
        });
        expect(report.warnings).toHaveLength(1);
        expect(report.warnings[0]).toMatch(
          /^GSO segments of 1400 bytes were refused \((EINVAL|EMSGSIZE)\)/,
        );
        await expectComplete(a, steps);
        await expectComplete(b, steps);
      },
      TIMEOUT_MS,
    );

    test(
      "after a refusal in the middle of a batch, all datagrams of the batch arrive once",
      async () => {
        setDevice({ mtu: 1280 });
        await using a = await Receiver.start({ hostname: near });
        await using b = await Receiver.start({ hostname: far });
        const order = [b, b, a, a, a, b, b];
        const steps = [{ datagrams: order.map(({ address }) => [address, 1400] as const) }];
        const { refusals } = await send({ hostname: local, steps });
        expect(refusals).toEqual([1]);
        await expectComplete(a, steps);
        await expectComplete(b, steps);
      },
      TIMEOUT_MS,
    );

    test(
      "an MTU below the segment length disables GSO for that length on a connected socket",
      async () => {
        setDevice({ mtu: 1280 });
        await using receiver = await Receiver.start({ hostname: near });
        const { address } = receiver;
        const steps = [1400, 1200, 1400].map((bytes) => step(address, 5, bytes));
        const report = await send({ hostname: local, connect: address, steps });
        expect(report).toMatchObject({ messages: [5, 1, 5], refusals: [1, 0, 0] });
        await expectComplete(receiver, steps);
      },
      TIMEOUT_MS,
    );
  });
});

/** errno(3) of Linux. */
const REFUSALS = { EIO: 5, EINVAL: 22, EMSGSIZE: 90 } as const;

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("a kernel that refuses GSO messages", () => {
  test.each(["sendMany", "sendBatch"])(
    "with EIO: %s sends that batch and all later ones to that peer without GSO, each datagram once",
    async (call) => {
      await using a = await Receiver.start({ hostname: "127.0.0.1" }, null);
      await using b = await Receiver.start({ hostname: "127.0.0.1" }, null);
      const isBatch = call === "sendBatch";
      const steps = [
        step(a.address, 50, 1200, isBatch),
        step(a.address, 10, 100, isBatch),
        step(b.address, 2, 1200, isBatch),
      ];
      const plan = { hostname: "127.0.0.1", steps, refuseErrno: REFUSALS.EIO };
      expect(await send(plan, null)).toEqual({
        messages: [50, 10, 2],
        refusals: [1, 0, 1],
        warnings: ["GSO segments of 1200 bytes were refused (EIO) and are sent one by one"],
      });
      await expectComplete(a, steps);
      await expectComplete(b, steps);
    },
    TIMEOUT_MS,
  );

  test.each(["EINVAL", "EMSGSIZE"] as const)(
    "with %s: GSO is tried again for shorter segments and other peers, with one warning",
    async (code) => {
      await using a = await Receiver.start({ hostname: "127.0.0.1" }, null);
      await using b = await Receiver.start({ hostname: "127.0.0.1" }, null);
      const steps = [
        step(a.address, 50, 1200),
        step(a.address, 10, 1200),
        step(b.address, 10, 1200),
        step(a.address, 10, 1199),
        step(b.address, 10, 1400),
      ];
      const plan = { hostname: "127.0.0.1", steps, refuseErrno: REFUSALS[code] };
      expect(await send(plan, null)).toEqual({
        messages: [50, 10, 10, 10, 10],
        refusals: [1, 0, 1, 1, 0],
        warnings: [`GSO segments of 1200 bytes were refused (${code}) and are sent one by one`],
      });
      await expectComplete(a, steps);
      await expectComplete(b, steps);
    },
    TIMEOUT_MS,
  );

  test(
    "with another error: the send fails with that error",
    async () => {
      await using receiver = await Receiver.start({ hostname: "127.0.0.1" }, null);
      const steps = [step(receiver.address, 10, 1200)];
      const EPERM = 1;
      const plan = { hostname: "127.0.0.1", steps, refuseErrno: EPERM };
      expect(String(await rejection(send(plan, null)))).toContain("EPERM");
    },
    TIMEOUT_MS,
  );
});
