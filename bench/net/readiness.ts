/**
 * Readiness figures: what a receiver takes when it is the limit, and how fast it answers when it
 * is idle or in a ping-pong. All peers in one run, in fresh processes, in turn; medians, and for
 * the ratios the median of those within a round.
 *
 *     npm run bench:readiness [-- --rounds 5 --seconds 2]
 */

import { parseArgs } from "node:util";
import { DATAGRAM_BYTES } from "./datagrams.ts";
import { measureEcho, measureSink, type Throughput, type Trips } from "./measures.ts";
import { type Contender, compileReference, peer, raisePriority } from "./processes.ts";
import { median, medianOfEach, ratio } from "./statistics.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

const IDLE = { trips: 3000, gapUs: 300 };
const PING_PONG = { trips: 20_000, gapUs: 0 };

const reference = compileReference();
raisePriority();
const ours = peer("datagram-socket.ts");
// What is asked here is how a receiver learns of datagrams, one message each, as Bun takes them.
const oneEach = { DATAGRAM_SOCKET_OFFLOAD: "off" };

const BUN: Contender = { name: "Bun.udpSocket", command: peer("bun-udp-socket.ts") };
const C: Contender = { name: "C, recvmmsg of 64", command: [reference, "plain"] };
const CONTENDERS: readonly Contender[] = [
  BUN,
  C,
  { name: "datagram-socket", command: ours, env: oneEach },
  {
    name: "datagram-socket, thread",
    command: ours,
    env: { ...oneEach, DATAGRAM_SOCKET_READINESS: "thread" },
  },
  {
    name: "datagram-socket, portable",
    command: ours,
    env: { DATAGRAM_SOCKET_BACKEND: "portable" },
  },
];

interface Sample {
  readonly receive: Throughput;
  readonly idle: Trips;
  readonly pingPong: Trips;
}

const samples = new Map<Contender, Sample[]>(CONTENDERS.map((contender) => [contender, []]));
for (let round = 0; round < rounds; round++) {
  const order = round % 2 === 0 ? CONTENDERS : CONTENDERS.toReversed();
  for (const contender of order) samplesOf(contender).push(await measure(contender));
}

console.log(`medians of ${rounds} rounds, ${DATAGRAM_BYTES} bytes, loopback, GSO sender`);
console.table(Object.fromEntries(CONTENDERS.map((one) => [one.name, row(one)])));

async function measure(contender: Contender): Promise<Sample> {
  const receive = await measureSink(contender, { seconds, receiveBytes: 0 });
  const [idle, pingPong] = await measureEcho(contender, [IDLE, PING_PONG]);
  return { receive, idle: idle as Trips, pingPong: pingPong as Trips };
}

function samplesOf(contender: Contender): Sample[] {
  return samples.get(contender) as Sample[];
}

function row(contender: Contender): object {
  const mine = samplesOf(contender);
  const receive = medianOfEach(mine.map((sample) => sample.receive));
  const idle = medianOfEach(mine.map((sample) => sample.idle));
  const pingPong = medianOfEach(mine.map((sample) => sample.pingPong));
  const of = (other: Contender, figure: (sample: Sample) => number) => {
    const others = samplesOf(other);
    return ratio(median(mine.map((sample, i) => figure(sample) / figure(others[i] as Sample))), 1);
  };
  return {
    "receive M/s": (receive.rate / 1e6).toFixed(2),
    "of Bun": of(BUN, (sample) => sample.receive.rate),
    "of C": of(C, (sample) => sample.receive.rate),
    "user us": receive.userUs.toFixed(3),
    "system us": receive.systemUs.toFixed(2),
    "per call": receive.datagramsPerCall.toFixed(1),
    "idle p50 us": idle.p50Us.toFixed(1),
    "idle of Bun": of(BUN, (sample) => sample.idle.p50Us),
    "idle p99": idle.p99Us.toFixed(0),
    "ping-pong p50 us": pingPong.p50Us.toFixed(1),
    "ping of Bun": of(BUN, (sample) => sample.pingPong.p50Us),
    "ping p99": pingPong.p99Us.toFixed(0),
  };
}
