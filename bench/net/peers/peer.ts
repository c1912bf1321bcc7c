/** What a peer of the network benchmarks implements. Types only: run-peer.ts runs it. */

/** Checks and counts the datagrams that a peer receives or relays. */
export interface Recorder {
  /** Whether each datagram, as received, must be passed to `check` before it is counted. */
  readonly isChecking: boolean;
  check(bytes: Uint8Array): void;
  count(datagrams: number): void;
}

/** How to open a receiving socket, and where to record what it receives. */
export interface ListenOptions {
  /** The receive buffer size to request from the kernel. Absent: the default. */
  readonly receiveBufferBytes: number | undefined;
  readonly recorder: Recorder;
}

/** An open receiving socket. */
export interface Listener {
  /** 0 for a Unix socket. */
  readonly port: number;
  /** Returns the number of system calls that sent or received. Absent if it cannot be known. */
  readonly systemCalls?: () => number;
}

/** An open sending socket. */
export interface Sender {
  /** Sends all of `datagrams`. */
  readonly send: () => Promise<void>;
  readonly systemCalls?: () => number;
}

/** The roles of a peer, as far as its API supports them. Receivers use 127.0.0.1 or a path. */
export interface Peer {
  /** Receives and discards datagrams. */
  sink?(options: ListenOptions): Promise<Listener>;
  /** Sends every datagram back to its source. */
  echo?(options: Omit<ListenOptions, "recorder">): Promise<Listener>;
  /** Sends each datagram, with `PREFIX` prepended, to port `to`, and counts it afterwards. */
  relay?(options: ListenOptions, to: number): Promise<Listener>;
  /** Opens a sender to the only port, connected, or one that sends datagram `i` to port `i`. */
  sender?(ports: readonly number[]): Promise<Sender>;
  /** Receives datagrams at a path and discards them. */
  unixSink?(path: string, recorder: Recorder): Promise<Listener>;
  /** Opens a sender to a path. */
  unixSender?(path: string): Promise<Sender>;
}
