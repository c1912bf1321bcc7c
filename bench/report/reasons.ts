/**
 * The text of the report that is written by hand: why targets are missed, and remarks on
 * scenarios. bench:report warns about missed targets without a reason, and about reasons for
 * targets that are not missed.
 */

import type { Target } from "../targets.ts";

/** A reason for all targets that match the given fields. */
export interface Reason {
  /** The target's path. Of a worst case, the part before the colon: `receive, worst`. */
  readonly path: string;
  readonly ours?: string;
  readonly figure?: string;
  readonly against?: string;
  /** The text after "missed:" in the table. */
  readonly reason: string;
}

const FLOODED =
  "the receiver is faster than the flood, so that a receive finds about ten datagrams, or none, " +
  "and the cost of the call is divided by few datagrams";

const ONE_SEND_EACH =
  "at the limit: 1.26 in the run before; for 32 clients 0.86 then, and 1.29 now. 73 % of the server's " +
  "time is in the kernel, with Bun 76 %: one send for each reply. Sending with sendto, and a queue " +
  "that operations which complete at once do not enter, took a send from 3.98 to 3.47 µs (a bare " +
  "sendto: 3.05) and a receive from 1.30 to 1.10. Reading ahead before took the echo from 15.4 to 14.7";

const JAVASCRIPT_BESIDE_THE_CALL =
  "the system call takes as long as in C. JavaScript takes 0.11 to 0.16 µs of user time beside it for " +
  "each datagram, to check it and to find out what is adjacent; C takes none. On a machine that was " +
  "twice as fast, the same code reached 0.78 of C with one flat buffer. Attempts: one loop for a run of " +
  "equal datagrams (0.77 to 0.81), fewer closures per call, addresses that are kept between calls";

const RELAY_USER_TIME =
  "JavaScript takes 0.34 of 0.74 µs, to build the vector and the prefixes; C takes 0.02. On a machine " +
  "that was twice as fast it was 0.66 of C, and 14 times Bun";

const BURSTS_OF_THE_SERVER =
  "C with batches in the place of the proxy: 1.6 to 2.4 times. Attempts: a warm-up of three downloads, " +
  "as the compiler took 32 % of the proxy's time in the second 100 MB (1.44 to 1.69, in one round on " +
  "another machine 2.34); burstDelayUs of 100 µs, 1.13 to 1.47 times faster in four comparisons and " +
  "slower in a fifth; no spinning, CPU unchanged; sched_yield before receives, up to 2.7 times, but " +
  "0.57 beside other programs";

const TWO_EPOLLS =
  "waiting for a datagram costs a promise, and a wake-up involves two epoll instances " +
  "instead of one";

export const REASONS: readonly Reason[] = [
  {
    path: "receive, offload off",
    against: "Bun.udpSocket",
    reason:
      "nearly all of the cost per datagram is in the kernel, and the same for both. C is not " +
      "twice as fast as Bun either, and the load does not send twice as much as Bun receives",
  },
  {
    path: "receive, offload off",
    against: "C, recvmmsg/sendmmsg",
    reason: "at the limit: 0.998 in the run before",
  },
  { path: "receive, flood", figure: "userUs", reason: FLOODED },
  {
    path: "receive, full queue",
    figure: "userUs",
    reason: "0.076 after six times as many laps, when the compiler threads of the runtime are idle",
  },
  {
    path: "receive, full queue",
    ours: "datagram-socket",
    figure: "ns",
    reason:
      "GRO delivers the datagrams as one message. Copying each of 1,200 bytes to a buffer of " +
      "the caller takes 25 ns, half of the total time of C. Scattering by the kernel takes longer",
  },
  { path: "echo to 256 clients", ours: "datagram-socket, single datagrams", reason: ONE_SEND_EACH },
  {
    path: "tryAddPrefix and advance of 8 bytes",
    reason:
      "the checks and the fields take half of it without any copy. The engine copies single bytes, " +
      "each with a check of its bounds: without a loop 7.1 instead of 8.5 ns. Copies of 32 bits save " +
      "another 8 %, but need a DataView for each buffer and prefix",
  },
  {
    path: "idle",
    figure: "p99Us",
    reason:
      "1.34 and 1.06 in the two runs before; without pauses (ping-pong) the target is reached",
  },
  {
    path: "echo, idle, worst",
    reason: TWO_EPOLLS,
  },
  {
    path: "echo, ping-pong, worst",
    figure: "cpuUs",
    reason:
      "a reader that waits briefly again and again is polled in each turn of the event loop for up " +
      "to 0.1 ms: replies arrive 1.4 times as fast, for the processor time of empty receives",
  },
  {
    path: "send 64 to one peer",
    ours: "datagram-socket",
    against: "Bun.udpSocket",
    reason: "at the limit: 8.87 and 8.46 in the two runs before",
  },
  {
    path: "1024 to 64 peers, interleaved",
    against: "Bun.udpSocket",
    reason: "at the limit: 9.19 and 8.15 in the two runs before",
  },
  {
    path: "relay, full queue",
    reason: "at the limit: 0.775 and 0.877 in the two runs before",
  },
  {
    path: "send 64 to one peer",
    ours: "datagram-socket, one buffer",
    reason: JAVASCRIPT_BESIDE_THE_CALL,
  },
  {
    path: "send 64 to one peer",
    against: "C, GRO/GSO, a buffer each",
    reason: JAVASCRIPT_BESIDE_THE_CALL,
  },
  { path: "relay with prefix", reason: RELAY_USER_TIME },
  {
    path: "QUIC download, quiche at both ends",
    reason:
      "at the limit, and other programs ran in some samples: 1.68 at 0.635 of the CPU in the run before, " +
      "and 1.82 at 0.60 on a quieter machine",
  },
  { path: "HTTP/3 through the flow proxy", figure: "megabytesPerS", reason: BURSTS_OF_THE_SERVER },
  {
    path: "start",
    figure: "residentMiB",
    reason: "the compiled shim, a table of descriptors, and the functions of 110 modules",
  },
  {
    path: "send 64 to one peer",
    ours: "datagram-socket",
    against: "C, GRO/GSO",
    reason:
      "the kernel needs more time to gather 64 buffers than to send one, also in C (0.82). " +
      "Adjacent buffers are sent as one: see the next line",
  },
  {
    path: "1,000 idle sockets after a burst through each",
    figure: "perSocketKiB",
    reason:
      "4 KiB of it do not grow with the sockets: from 1,000 to 3,000 sockets each takes 5.9 to 6.1 KiB, of " +
      "which 4.6 KB are objects of the heap, about 55 of the engine, the reactor, counters, queues and " +
      "the promises of the server that waits. Vectors, batches and wakers are released or created when " +
      "they are needed; since this run addresses take 150 instead of 515 bytes",
  },
  {
    path: "start",
    figure: "ms",
    reason:
      "half of it is loading eighty modules, a sixth is compiling the shim. The published package " +
      "is a bundle",
  },
  {
    path: "start, published package",
    figure: "ms",
    reason:
      "parsing and evaluating the bundle takes a third, compiling the shim a quarter, of which " +
      "96 % remain for an empty file. No difference: a single file, a wrapping function, C " +
      "without comments. Short names save 1 to 5 %. A library that is compiled in advance would " +
      "save the quarter, but the package would need one for each system. Bytecode saves a third of " +
      "the time from the start of a program, but only the user can make it (docs/deployment.md)",
  },
];

/** Remarks on the tables of scenarios, by name. */
export const REMARKS: Readonly<Record<string, string>> = {
  "receive, workers with reusePort":
    "The load runs on the same processors. If there are two, a second worker slows down the load " +
    "that it receives from.",
};

/** Returns the first reason that matches a target. */
export function reasonOf(target: Target): Reason | undefined {
  return REASONS.find(
    ({ path, ours, figure, against }) =>
      (path === target.path || target.path.startsWith(`${path}:`)) &&
      (ours ?? target.ours) === target.ours &&
      (figure ?? target.figure) === target.figure &&
      (against ?? target.against) === target.against,
  );
}
