/**
 * `npm run soak -- [--minutes N] [--json FILE] [--plot FILE]`: runs the flow proxy at full load, with
 * 100 new flows a second, for N minutes (default 10), and samples it once a second. Fails if memory,
 * descriptors or losses grow, or if a reply is wrong. Drawing needs `npm install --prefix bench`.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { runLoad } from "../../examples/flow-proxy/load-generator.ts";
import { Origin } from "../../examples/flow-proxy/origin.ts";
import { type ChurnCounters, runChurn } from "./churn.ts";
import { verdictsOf } from "./flatness.ts";
import type { FromProxy, ProxySample, SoakSample, ToProxy } from "./messages.ts";

const CLIENTS = 32;
const NEW_FLOWS_PER_SECOND = 100;
const SAMPLE_MS = 1000;
/** A sample that takes longer means that the proxy hangs. */
const REPORT_MS_MAX = 10_000;
const PRINT_EVERY = 30;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    json: { type: "string" },
    plot: { type: "string" },
  },
});
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 60 * 24 * 30)) {
  throw new RangeError(`--minutes expected a number from 0 to 43200, got "${values.minutes}"`);
}

/** The process of the proxy. */
class ProxyProcess {
  readonly #child = Bun.spawn([process.execPath, join(import.meta.dir, "proxy-process.ts")], {
    stdout: "inherit",
    stderr: "inherit",
    ipc: (message: FromProxy) => this.#received.resolve(message),
  });
  #received = Promise.withResolvers<FromProxy>();

  /** Sends a message, and returns the next one of the proxy. */
  async request(message: ToProxy): Promise<FromProxy> {
    this.#received = Promise.withResolvers();
    this.#child.send(message);
    const timer = setTimeout(() => {
      this.#received.reject(new Error(`the proxy did not reply for ${REPORT_MS_MAX} ms`));
    }, REPORT_MS_MAX);
    const exit = this.#child.exited.then((code) => {
      throw new Error(`the proxy exited with code ${code}`);
    });
    exit.catch(() => {});
    try {
      return await Promise.race([this.#received.promise, exit]);
    } finally {
      clearTimeout(timer);
    }
  }

  async sample(): Promise<ProxySample> {
    const message = await this.request({ kind: "sample" });
    if (message.kind !== "sample") throw new Error(`expected a sample, got ${message.kind}`);
    return message.sample;
  }
}

const faults: string[] = [];
const samples: SoakSample[] = [];
const origin = await Origin.open({ listen: { hostname: "127.0.0.1", port: 0 } });
const proxy = new ProxyProcess();
const started = await proxy.request({ kind: "start", upstreamPort: origin.localAddr.port });
if (started.kind !== "listening") throw new Error(`expected a port, got ${started.kind}`);

const target = { hostname: "127.0.0.1", port: started.port };
const durationMs = minutes * 60_000;
const stop = AbortSignal.timeout(durationMs);
const churn: ChurnCounters = { exchanges: 0, lost: 0, altered: 0 };
const load = runLoad({ target, clients: CLIENTS, durationMs });
const churning = runChurn(target, NEW_FLOWS_PER_SECOND, churn, stop);
const startMs = performance.now();
while (!stop.aborted) {
  await Bun.sleep(SAMPLE_MS);
  const sample = await proxy.sample();
  const seconds = (performance.now() - startMs) / 1000;
  const { exchanges, lost: exchangesLost } = churn;
  samples.push({ seconds, exchanges, exchangesLost, ...sample });
  if (samples.length % PRINT_EVERY === 0) {
    const { rssMiB, descriptors, flows } = sample;
    console.log(
      `${Math.round(seconds)} s: ${rssMiB.toFixed(1)} MiB, ${descriptors} descriptors, ${flows} flows`,
    );
  }
}
const report = await load;
await churning;

const closed = await proxy.request({ kind: "close" });
if (closed.kind !== "closed") throw new Error(`expected the end, got ${closed.kind}`);
origin.close();
const left = closed.sample.descriptors - started.descriptors;
// The tunnel, the clients' and the ingress's tunnel socket were open at the start.
if (left > 0) faults.push(`${left} descriptors remain after the proxy was closed`);

const { requests, replies, lost, altered, misdelivered } = report;
if (altered + misdelivered + churn.altered > 0) {
  faults.push(`${altered + churn.altered} replies altered, ${misdelivered} misdelivered`);
}
const lostPart = lost / requests;
console.log(
  `load: ${requests.toLocaleString("en")} requests, ${replies.toLocaleString("en")} replies, ` +
    `${lost} lost; ${churn.exchanges} exchanges in flows of their own, ${churn.lost} lost`,
);
const verdicts = [
  ...verdictsOf(samples),
  { name: "share of requests without a reply", value: lostPart, max: 0.001 },
];
for (const { name, value, max } of verdicts) {
  console.log(`${name}: ${Number(value.toPrecision(3))}, at most ${max}`);
  if (!(value <= max)) faults.push(`${name}: ${value}, at most ${max}`);
}
if (values.json) await Bun.write(values.json, `${JSON.stringify({ samples, report, churn })}\n`);
if (values.plot) await plot(values.plot);
for (const fault of faults) console.error(fault);
console.log(faults.length === 0 ? "1 passed, 0 failed" : "0 passed, 1 failed");
process.exit(faults.length === 0 ? 0 : 1);

/** The module that draws, which needs packages that only the benchmarks have. */
interface SoakPlot {
  drawSoak(title: string, samples: readonly SoakSample[]): Promise<string>;
}

async function plot(path: string): Promise<void> {
  const { drawSoak }: SoakPlot = await import(join(import.meta.dir, "../../bench/report/soak.ts"));
  const title = `The flow proxy at full load and ${NEW_FLOWS_PER_SECOND} new flows a second`;
  await Bun.write(path, await drawSoak(title, samples));
}
