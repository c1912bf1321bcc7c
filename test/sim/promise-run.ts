/**
 * Runs random operations of the promise layer on two simulated sockets, and checks that every
 * operation settles, that each datagram is sent or received by exactly one of them, and that they
 * are served in the order of the calls.
 */

import { SimNetwork, SimRandom, type SimSocket } from "../../lib/testing/index.ts";
import { Receivers } from "./promise-receivers.ts";
import { Senders } from "./promise-senders.ts";
import { require } from "./violation.ts";

/** Simulated time after which a run has failed. */
const UNTIL_MS = 600_000;
const RECEIVER = "10.0.0.1";
const SENDER = "10.0.0.2";

/** The result of a run without a violation. */
export interface PromiseRun {
  readonly digest: number;
  readonly operations: number;
  /** The operations that an ICMP error made fail. */
  readonly refused: number;
}

/** Runs the operations of a seed. @throws Violation if an invariant is broken. */
export async function runPromises(seed: number): Promise<PromiseRun> {
  const random = new SimRandom(seed).fork("promises");
  const net = new SimNetwork({
    seed,
    traceEvents: 30,
    wakeIntervalMs: random.pick([0, 0, 1, 5]),
    link: {
      delayMs: random.between(0, 5),
      jitterMs: random.pick([0, 5]),
      bitsPerSecond: random.pick([Number.POSITIVE_INFINITY, 1e6]),
      queueDatagrams: 100_000,
    },
    socket: {
      receiveQueueDatagrams: 100_000,
      sendQueueDatagrams: random.pick([1, 4, 64]),
      blockedSends: random.pick([0, 0.1, 0.5]),
      partialReceives: random.pick([0, 0.1, 0.5]),
      spuriousWakes: random.pick([0, 0.1, 0.5]),
    },
  });
  try {
    const counts = await runOperations(net, random);
    return { digest: net.digest, ...counts };
  } catch (error) {
    if (error instanceof Error) error.message += `\n${net.trace.join("\n")}`;
    throw error;
  }
}

async function runOperations(net: SimNetwork, random: SimRandom) {
  const receiver = net.bind(RECEIVER, 1000);
  const isConnected = random.chance(0.5);
  const sender = net.bind(SENDER, 1000, isConnected ? { connect: receiver.localAddr } : {});
  const senders = new Senders(net, sender, isConnected ? undefined : receiver.localAddr);
  const receivers = new Receivers(net, receiver);
  const closesEarly = random.chance(0.3);
  // The port of the peer is closed: every datagram causes an ICMP error, which makes one call fail.
  const isRefused = isConnected && random.chance(0.2);
  if (isRefused) receiver.close();
  await net.run(
    async () => {
      const count = random.integer(5, 40);
      for (let i = 0; i < count; i++) {
        if (random.chance(0.3)) await net.clock.sleep(random.between(0, 10));
        if (isRefused || random.chance(0.5)) senders.start();
        else receivers.start();
      }
      if (closesEarly) await net.clock.sleep(random.between(0, 20));
      else if (isRefused) await senders.settled();
      else await finish(senders, receivers);
      sender.close();
      receiver.close();
      // A promise that did not settle when its socket was closed stays pending.
      await net.clock.sleep(0);
    },
    { untilMs: UNTIL_MS },
  );
  await net.drain();
  for (const socket of [sender, receiver]) checkSettled(socket);
  senders.check();
  require(senders.refused <= sender.counters.transportErrors &&
    (isRefused || senders.refused === 0), () =>
    `${senders.refused} errors of ${sender.counters.transportErrors}`);
  receivers.check(senders.sent);
  const operations = senders.operations + receivers.operations;
  return { operations, refused: senders.refused };
}

/** Waits until everything is sent, and receives all of it. */
async function finish(senders: Senders, receivers: Receivers): Promise<void> {
  await senders.settled();
  while (receivers.received < senders.sent.length) {
    await receivers.receiveMore(senders.sent.length - receivers.received);
  }
}

function checkSettled(socket: SimSocket): void {
  require(!socket.isWaiting, () => `a promise of ${socket.localAddr} is pending after close`);
}
