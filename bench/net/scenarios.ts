/** The paths through a datagram socket: what is measured, and who goes it. */

import * as who from "./contenders.ts";
import { DEFAULT_BATCH, DEFAULT_DATAGRAM_BYTES } from "./datagrams.ts";
import * as measures from "./measures.ts";
import { at, each, type Place, type Scenario } from "./scenario.ts";

/** A flow's question, or a small frame; a QUIC packet; a jumbo frame. */
const SIZES: readonly Place[] = [{ bytes: 64 }, { bytes: 1200 }, { bytes: 9000 }];
const ONE_SIZE: readonly Place[] = [{ bytes: DEFAULT_DATAGRAM_BYTES }];

/** Ways through this library that are slower by design: measured at one size. */
const FALLBACKS = [who.OFFLOAD_OFF, who.PORTABLE, who.THREAD];
const REFERENCES = [who.C_PLAIN, who.C_OFFLOAD];
const MOVERS = [
  ...who.JAVASCRIPT,
  ...REFERENCES,
  who.OFFLOAD_OFF,
  who.PORTABLE,
  who.BATCHES,
  who.DEFAULTS,
];

/** A relay takes several times as long to drain a queue, and its figures need fewer laps. */
const RELAY_LAPS_PART = 4;

/** Between two round trips of an idle peer. */
const IDLE_GAP_US = 300;

const isNoFallback = (contender: who.Contender, { bytes }: Place) =>
  bytes === DEFAULT_DATAGRAM_BYTES || !FALLBACKS.includes(contender);

/** A datagram that is nothing but a system call: what is level is told apart by many rounds. */
const LEVEL_ROUNDS = 2;

const send: Scenario = {
  suite: "net",
  name: "send",
  places: SIZES,
  contenders: [...MOVERS, who.ONE_BUFFER],
  takesPart: isNoFallback,
  measure: each((contender, place, { seconds }) =>
    measures.measureSender(contender, { bytes: at(place, "bytes"), seconds, peers: 1 }),
  ),
};

/** Filled by GSO, so that the receiver is the limit and not its sender. */
const receive: Scenario = {
  ...send,
  contenders: MOVERS,
  name: "receive",
  measure: each((contender, place, { seconds }) =>
    measures.measureSink(contender, { bytes: at(place, "bytes"), seconds }),
  ),
};

/** From the short queue that a socket has when nobody asks for another. */
const receiveDefault: Scenario = {
  suite: "net",
  name: "receive, default queue",
  places: ONE_SIZE,
  contenders: [...who.JAVASCRIPT, who.C_PLAIN, ...FALLBACKS, who.DEFAULTS],
  measure: each((contender, place, { seconds }) =>
    measures.measureSink(
      contender,
      { bytes: at(place, "bytes"), seconds },
      measures.DEFAULT_RECEIVE_BYTES,
    ),
  ),
};

const relay: Scenario = {
  ...receive,
  name: "relay",
  measure: each((contender, place, { seconds }) =>
    measures.measureRelay(contender, { bytes: at(place, "bytes"), seconds }),
  ),
};

/** Deno has no option for the length of the queue, and the portable backend keeps one of its own. */
const receiveDrain: Scenario = {
  suite: "net",
  name: "receive, drain",
  places: ONE_SIZE,
  contenders: [who.BUN, ...REFERENCES, who.OFFLOAD_OFF, who.BATCHES, who.DEFAULTS],
  measure: each((contender, place, { laps }) =>
    measures.measureSinkDrain(contender, { bytes: at(place, "bytes"), laps }),
  ),
};

const relayDrain: Scenario = {
  ...receiveDrain,
  name: "relay, drain",
  measure: each((contender, place, { laps }) =>
    measures.measureRelayDrain(contender, {
      bytes: at(place, "bytes"),
      laps: Math.ceil(laps / RELAY_LAPS_PART),
    }),
  ),
};

const echoIdle: Scenario = {
  suite: "net",
  name: "echo, idle",
  places: ONE_SIZE,
  contenders: [...who.JAVASCRIPT, who.C_PLAIN, ...FALLBACKS, who.DEFAULTS],
  isTogether: true,
  measure: (contenders, place, { idleTrips }) =>
    measures.measurePings(contenders, {
      bytes: at(place, "bytes"),
      trips: idleTrips,
      gapUs: IDLE_GAP_US,
    }),
};

const echoPingPong: Scenario = {
  ...echoIdle,
  name: "echo, ping-pong",
  measure: (contenders, place, { pingPongTrips }) =>
    measures.measurePings(contenders, {
      bytes: at(place, "bytes"),
      trips: pingPongTrips,
      gapUs: 0,
    }),
};

const echoFlows: Scenario = {
  suite: "net",
  name: "echo, many flows",
  places: [{ bytes: DEFAULT_DATAGRAM_BYTES, flows: 1000 }],
  contenders: [...who.JAVASCRIPT, who.C_PLAIN, who.PORTABLE, who.DEFAULTS],
  measure: each((contender, place, { seconds }) =>
    measures.measureFlows(contender, {
      bytes: at(place, "bytes"),
      flows: at(place, "flows"),
      seconds,
    }),
  ),
};

/** One datagram each: nothing goes together. */
const sendToMany: Scenario = {
  suite: "net",
  name: "send to many peers",
  rounds: (ofRun) => LEVEL_ROUNDS * ofRun,
  places: [{ bytes: DEFAULT_DATAGRAM_BYTES, peers: DEFAULT_BATCH }],
  contenders: [...who.JAVASCRIPT, who.C_PLAIN, who.PORTABLE, who.DEFAULTS],
  measure: each((contender, place, { seconds }) =>
    measures.measureSender(contender, {
      bytes: at(place, "bytes"),
      peers: at(place, "peers"),
      seconds,
    }),
  ),
};

const unix: Scenario = {
  suite: "net",
  name: "Unix datagrams",
  places: ONE_SIZE,
  contenders: [who.UNIX_DGRAM, who.DENO, who.C_UNIX, who.DEFAULTS],
  measure: each((contender, place, { seconds }) =>
    measures.measureUnix(contender, { bytes: at(place, "bytes"), seconds }),
  ),
};

const start: Scenario = {
  suite: "start",
  name: "start",
  places: ONE_SIZE,
  contenders: [...who.JAVASCRIPT, who.PORTABLE, who.DEFAULTS],
  measure: each((contender, place) => measures.measureStart(contender, at(place, "bytes"))),
};

/** In the order they are measured. */
export const PATHS: readonly Scenario[] = [
  send,
  receive,
  receiveDefault,
  receiveDrain,
  relay,
  relayDrain,
  echoIdle,
  echoPingPong,
  echoFlows,
  sendToMany,
  unix,
  start,
];
