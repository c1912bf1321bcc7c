/** What a run of the benchmarks leaves behind: a JSON file, from which tables and plots are made. */

/** One figure set of one contender in one round. */
export interface Sample {
  readonly suite: "micro" | "net" | "growth" | "start";
  /** What was measured, e.g. "receive", "relay", "headroom, pooled", "batch size". */
  readonly scenario: string;
  /** Who, e.g. "datagram-socket", "Bun.udpSocket", "C, GRO/GSO". */
  readonly peer: string;
  /** Where on the scenario's axes: datagram bytes, batch size, flows ... */
  readonly parameters: Readonly<Record<string, number>>;
  readonly round: number;
  /**
   * Named with their unit last: rate (datagrams/s), gbitPerS, userUs, systemUs, cpuUs (a datagram),
   * p50Us, p99Us, p999Us, arrived (0..1), datagramsPerCall, memoryGrowthBytes, ns, bytesAllocated,
   * ms, residentMiB ... About the sample itself: gaugeUs, the time of a fixed piece of work beside
   * it; others, the processors that other programs used; attempts; and slow, 1 where one of them
   * tells that it was disturbed, else 0.
   */
  readonly figures: Readonly<Record<string, number>>;
}

/** One run: a JSON file in bench/results/. */
export interface Results {
  readonly machine: { cpu: string; cores: number; kernel: string; memoryGiB: number };
  /** bun, node, deno, gcc, library ... */
  readonly versions: Record<string, string>;
  /** With "-dirty" where the checkout has changes. */
  readonly commit: string;
  readonly startedAt: string;
  readonly command: string;
  readonly samples: readonly Sample[];
}
