/** The scenarios of the network benchmarks, except the growth scenarios. */

import {
  BATCHES,
  BUN,
  C_OFFLOAD,
  C_PLAIN,
  C_SEPARATE,
  C_UNIX,
  type Contender,
  DEFAULTS,
  DENO,
  grouped,
  ITERATOR,
  JAVASCRIPT,
  OFFLOAD_OFF,
  ONE_BUFFER,
  PORTABLE,
  PUBLISHED,
  SINGLE,
  THREAD,
  UNIX_DGRAM,
  withBatchSize,
} from "./contenders.ts";
import { DEFAULT_BATCH, DEFAULT_DATAGRAM_BYTES, LARGE_BATCH } from "./datagrams.ts";
import { FLOW_PROXY_DEMO } from "./flow-proxy-demo.ts";
import { HTTP3 } from "./http3/scenario.ts";
import type { Figures } from "./measures.ts";
import * as measures from "./measures.ts";
import { CLOSED_SOCKETS, IDLE_SOCKETS } from "./memory/scenarios.ts";
import type { Program } from "./processes.ts";
import { QUIC } from "./quiche/scenario.ts";
import { type Effort, measureEach, type Point, parameterOf, type Scenario } from "./scenario.ts";

/** A small datagram, a QUIC packet, and a jumbo frame. */
const SIZES: readonly Point[] = [{ bytes: 64 }, { bytes: 1200 }, { bytes: 9000 }];
const ONE_SIZE: readonly Point[] = [{ bytes: DEFAULT_DATAGRAM_BYTES }];

/** Configurations of this library that are not the default. Measured at one size. */
const FALLBACKS = [OFFLOAD_OFF, PORTABLE, THREAD];
const REFERENCES = [C_PLAIN, C_OFFLOAD];
/** The contenders that send, receive and relay. */
const THROUGHPUT_CONTENDERS = [
  ...JAVASCRIPT,
  ...REFERENCES,
  OFFLOAD_OFF,
  PORTABLE,
  BATCHES,
  DEFAULTS,
];

/** A drain of a relay takes several times as long as that of a sink, so it has fewer laps. */
const RELAY_LAPS_DIVISOR = 4;

/** The pause between two round trips to an idle peer. */
const IDLE_GAP_US = 300;

/** Contenders whose results are nearly equal need more rounds to be distinguished. */
const CLOSE_ROUNDS_FACTOR = 2;

const isMeasuredAtSize = (contender: Contender, { bytes }: Point) =>
  bytes === DEFAULT_DATAGRAM_BYTES || !FALLBACKS.includes(contender);

const send: Scenario = {
  suite: "net",
  name: "send",
  points: SIZES,
  contenders: [...THROUGHPUT_CONTENDERS, C_SEPARATE, ONE_BUFFER],
  takesPart: isMeasuredAtSize,
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureSender(contender, { bytes: parameterOf(point, "bytes"), seconds, peers: 1 }),
  ),
};

/** The load uses GSO, so that the receiver is the bottleneck, not the sender. */
const receive: Scenario = {
  ...send,
  contenders: THROUGHPUT_CONTENDERS,
  name: "receive",
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureSink(contender, { bytes: parameterOf(point, "bytes"), seconds }),
  ),
};

/** With the default receive buffer, which holds few datagrams. */
const receiveDefault: Scenario = {
  suite: "net",
  name: "receive, default queue",
  points: ONE_SIZE,
  contenders: [...JAVASCRIPT, C_PLAIN, ...FALLBACKS, DEFAULTS],
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureSink(
      contender,
      { bytes: parameterOf(point, "bytes"), seconds },
      measures.DEFAULT_RECEIVE_BYTES,
    ),
  ),
};

const relay: Scenario = {
  ...receive,
  name: "relay",
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureRelay(contender, { bytes: parameterOf(point, "bytes"), seconds }),
  ),
};

/**
 * Without Deno, which has no option for the receive buffer size, and without the portable backend,
 * which moves datagrams to a queue of its own.
 */
const receiveDrain: Scenario = {
  suite: "net",
  name: "receive, drain",
  points: ONE_SIZE,
  contenders: [BUN, ...REFERENCES, C_SEPARATE, OFFLOAD_OFF, BATCHES, DEFAULTS],
  measure: measureEach((contender, point, { laps }) =>
    measures.measureSinkDrain(contender, { bytes: parameterOf(point, "bytes"), laps }),
  ),
};

const relayDrain: Scenario = {
  ...receiveDrain,
  contenders: [BUN, ...REFERENCES, OFFLOAD_OFF, BATCHES, DEFAULTS],
  name: "relay, drain",
  measure: measureEach((contender, point, { laps }) =>
    measures.measureRelayDrain(contender, {
      bytes: parameterOf(point, "bytes"),
      laps: Math.ceil(laps / RELAY_LAPS_DIVISOR),
    }),
  ),
};

const echoIdle: Scenario = {
  suite: "net",
  name: "echo, idle",
  points: ONE_SIZE,
  contenders: [...JAVASCRIPT, C_PLAIN, ...FALLBACKS, DEFAULTS],
  isTogether: true,
  measure: (contenders, point, { idleTrips }) =>
    measures.measurePings(contenders, {
      bytes: parameterOf(point, "bytes"),
      trips: idleTrips,
      gapUs: IDLE_GAP_US,
    }),
};

const echoPingPong: Scenario = {
  ...echoIdle,
  name: "echo, ping-pong",
  measure: (contenders, point, { pingPongTrips }) =>
    measures.measurePings(contenders, {
      bytes: parameterOf(point, "bytes"),
      trips: pingPongTrips,
      gapUs: 0,
    }),
};

const echoFlows: Scenario = {
  suite: "net",
  name: "echo, many flows",
  points: [{ bytes: DEFAULT_DATAGRAM_BYTES, flows: 1000 }],
  contenders: [...JAVASCRIPT, C_PLAIN, PORTABLE, DEFAULTS],
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureFlows(contender, {
      bytes: parameterOf(point, "bytes"),
      flows: parameterOf(point, "flows"),
      seconds,
    }),
  ),
};

/** Contenders that write their echo server with other methods. */
const SERVERS = [BUN, C_PLAIN, SINGLE, ITERATOR, DEFAULTS];

/** Small requests of clients that wait for the reply, as in DNS: the server decides the rate. */
const echoClients: Scenario = {
  suite: "net",
  name: "echo to clients",
  points: [
    { bytes: 64, flows: 32 },
    { bytes: 64, flows: 256 },
  ],
  contenders: SERVERS,
  measure: echoFlows.measure,
};

/** Each datagram has another destination, so GSO does not apply. */
const sendToMany: Scenario = {
  suite: "net",
  name: "send to many peers",
  rounds: (ofRun) => CLOSE_ROUNDS_FACTOR * ofRun,
  points: [{ bytes: DEFAULT_DATAGRAM_BYTES, peers: DEFAULT_BATCH }],
  contenders: [...JAVASCRIPT, C_PLAIN, PORTABLE, DEFAULTS],
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureSender(contender, {
      bytes: parameterOf(point, "bytes"),
      peers: parameterOf(point, "peers"),
      seconds,
    }),
  ),
};

/** Replies of a server to many peers in turn. C with GSO groups them by peer. */
const sendInterleaved: Scenario = {
  suite: "net",
  name: "interleaved peers",
  points: [{ bytes: DEFAULT_DATAGRAM_BYTES, batch: LARGE_BATCH, peers: 64 }],
  contenders: [BUN, ...REFERENCES, BATCHES, DEFAULTS],
  measure: measureEach((contender, point, effort) =>
    measureBatchesTo(withBatchSize(contender, parameterOf(point, "batch")), point, effort),
  ),
};

/** The same datagrams, but adjacent in the batch if they have the same peer. */
const sendGrouped: Scenario = {
  ...sendInterleaved,
  name: "grouped peers",
  measure: measureEach((contender, point, effort) =>
    measureBatchesTo(grouped(withBatchSize(contender, parameterOf(point, "batch"))), point, effort),
  ),
};

function measureBatchesTo(program: Program, point: Point, { seconds }: Effort): Promise<Figures> {
  return measures.measureSender(program, {
    bytes: parameterOf(point, "bytes"),
    peers: parameterOf(point, "peers"),
    seconds,
  });
}

const unix: Scenario = {
  suite: "net",
  name: "Unix datagrams",
  points: ONE_SIZE,
  contenders: [UNIX_DGRAM, DENO, C_UNIX, DEFAULTS],
  measure: measureEach((contender, point, { seconds }) =>
    measures.measureUnix(contender, { bytes: parameterOf(point, "bytes"), seconds }),
  ),
};

const start: Scenario = {
  suite: "start",
  name: "start",
  points: ONE_SIZE,
  contenders: [...JAVASCRIPT, PORTABLE, PUBLISHED, DEFAULTS],
  measure: measureEach((contender, point) =>
    measures.measureStart(contender, parameterOf(point, "bytes")),
  ),
};

/** In the order in which they are measured. */
export const SCENARIOS: readonly Scenario[] = [
  send,
  receive,
  receiveDefault,
  receiveDrain,
  relay,
  relayDrain,
  echoIdle,
  echoPingPong,
  echoFlows,
  echoClients,
  sendToMany,
  sendInterleaved,
  sendGrouped,
  unix,
  FLOW_PROXY_DEMO,
  HTTP3,
  QUIC,
  IDLE_SOCKETS,
  CLOSED_SOCKETS,
  start,
];
