/** What the processes of the soak test tell each other. */

/** The state of the proxy at one time. */
export interface ProxySample {
  /** Memory of the process in MiB: resident, and the JavaScript heap. */
  readonly rssMiB: number;
  readonly heapMiB: number;
  /** The number of open descriptors. */
  readonly descriptors: number;
  /** The flows of both halves. */
  readonly flows: number;
  /** Totals since the start, of both halves. */
  readonly flowsOpened: number;
  readonly datagrams: number;
  readonly drops: number;
}

/** From the proxy to the test. */
export type FromProxy =
  | { readonly kind: "listening"; readonly port: number; readonly descriptors: number }
  | { readonly kind: "sample"; readonly sample: ProxySample }
  | { readonly kind: "closed"; readonly sample: ProxySample };

/** From the test to the proxy. The proxy connects to the upstream port, and samples on request. */
export type ToProxy =
  | { readonly kind: "start"; readonly upstreamPort: number }
  | { readonly kind: "sample" }
  | { readonly kind: "close" };

/** A sample with its time, and the counters of the clients. */
export interface SoakSample extends ProxySample {
  readonly seconds: number;
  /** Totals of the clients that open a new flow for each exchange. */
  readonly exchanges: number;
  readonly exchangesLost: number;
}
