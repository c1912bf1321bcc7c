/** The result files of the benchmarks, from which bench:report makes tables and plots. */

/** The figures of one contender in one round. */
export interface Sample {
  readonly suite: "micro" | "net" | "growth" | "start";
  /** What was measured, for example "receive", "relay", "prefix, pooled", "send, batch size". */
  readonly scenario: string;
  /** The contender, for example "datagram-socket", "Bun.udpSocket", "C, GRO/GSO". */
  readonly peer: string;
  /** The parameters of the scenario: `bytes` per datagram, `batch` size, number of `flows`, ... */
  readonly parameters: Readonly<Record<string, number>>;
  readonly round: number;
  /**
   * The figures, named with their unit last:
   *
   * - `rate` (datagrams per second), `gbitPerS`, `arrived` (the fraction 0..1 that was not lost),
   *   `datagramsPerCall` (per system call), `datagramsPerMessage` (more than 1 with GRO and GSO).
   * - Per datagram or operation: `ns`, `userUs`, `systemUs`, `cpuUs`, `bytesAllocated`.
   * - Round trips: `p50Us`, `p99Us`, `p999Us`; `loadCpu` (the fraction of its time that the load
   *   uses a processor: near 1, the load limits the rate).
   * - A download: `megabytesPerS`, `endsCpuMs` (the CPU time of client and server), the packets of
   *   QUIC that the server sends per message (`serverOutPerMessage`) and per system call
   *   (`serverOutPerCall`), `relayCpuMs` (the CPU time of all relays per 100 MB), and of the
   *   flow proxy `egressInPerMessage`, `egressOutPerCall` ... (datagrams per message and per system
   *   call that each half receives from the upstream's side and sends to the clients' side), and
   *   `egressEmptyReceives` (the fraction of receive calls that find nothing).
   * - The process: `memoryGrowthBytes`, `ms` (until the first datagram), `residentMiB`.
   * - Many sockets: `perSocketKiB` (resident memory of each, open and idle), `retainedMiB` (of all,
   *   after they were closed).
   * - The sample itself: `gaugeUs` (the time of a fixed amount of work before or after it),
   *   `others` (the number of processors that other programs used), `attempts`, and `slow` (1 if
   *   the machine was disturbed according to these, otherwise 0).
   */
  readonly figures: Readonly<Record<string, number>>;
}

/** One run: a JSON file in bench/results/. */
export interface Results {
  readonly machine: { cpu: string; cores: number; kernel: string; memoryGiB: number };
  /** Versions of bun, node, deno, gcc, this library, and more. */
  readonly versions: Record<string, string>;
  /** With the suffix "-dirty" if the working tree had changes. */
  readonly commit: string;
  readonly startedAt: string;
  readonly command: string;
  readonly samples: readonly Sample[];
}
