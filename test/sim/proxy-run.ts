/** Runs the flow proxy on a simulated network, and checks its invariants. */

import { dropsTotal, type EndpointSnapshot } from "../../examples/flow-proxy/counters.ts";
import { Egress } from "../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../examples/flow-proxy/ingress.ts";
import { Origin } from "../../examples/flow-proxy/origin.ts";
import { SECRET_FLOW_ID_MIN } from "../../examples/flow-proxy/tunnel-datagram.ts";
import { type HostAndPort, SocketAddress } from "../../lib/index.ts";
import {
  type LinkOptions,
  type SimNat,
  SimNetwork,
  type SimReport,
} from "../../lib/testing/index.ts";
import { Forger } from "./forger.ts";
import { Ledger } from "./ledger.ts";
import {
  CLIENT_NAT,
  CLIENTS,
  EGRESS,
  INGRESS,
  INGRESS_OUT,
  type Incident,
  ORIGIN,
  type Scenario,
  SECTIONS,
  type Section,
  STRANGER,
  TUNNEL_NAT,
} from "./scenario.ts";
import { CONNECTION_ID_BYTES, SimClient } from "./sim-client.ts";
import { SimOrigin } from "./sim-origin.ts";
import { SimRuntime } from "./sim-runtime.ts";
import { require } from "./violation.ts";

const LISTEN = { hostname: INGRESS, port: 5000 };
const TUNNEL = { hostname: EGRESS, port: 6000 };
const UPSTREAM = { hostname: ORIGIN, port: 7000 };
/** Snapshots are taken at every such event of the network. */
const SNAPSHOT_EVENTS = 64;
/** The flow table looks for idle flows once a second at most. */
const EXPIRY_MS_MAX = 1000;

/** After this time without a send or a loss, nothing moves any more: longer than any delay. */
const QUIET_MS = 1000;
/** Simulated time after which a run has failed. */
const RUN_OPTIONS = { untilMs: 60_000 };

/** The result of a run without a violation. */
export interface ProxyRun {
  readonly report: SimReport;
  readonly digest: number;
  readonly replies: number;
  /** The datagrams that each half dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly simulatedMs: number;
  /** The number of flows that followed their client, or their ingress, to another address. */
  readonly moved: Readonly<Record<"ingress" | "egress", number>>;
}

/** A half of the proxy, which can be restarted. */
class Half<E extends Ingress | Egress> {
  readonly runtime: SimRuntime;
  readonly #open: (runtime: SimRuntime) => Promise<E>;
  readonly #closed: E[] = [];
  #endpoint: E | undefined;

  constructor(runtime: SimRuntime, open: (runtime: SimRuntime) => Promise<E>) {
    this.runtime = runtime;
    this.#open = open;
  }

  async open(): Promise<void> {
    this.#endpoint = await this.#open(this.runtime);
  }

  /** The state of the running endpoint; absent while it is being restarted. */
  snapshot(): EndpointSnapshot | undefined {
    return this.#endpoint?.snapshot();
  }

  close(): void {
    if (this.#endpoint === undefined) return;
    this.#endpoint.close();
    this.#closed.push(this.#endpoint);
    this.#endpoint = undefined;
  }

  /** The number of datagrams that all instances received, and counted as dropped. */
  get drops(): number {
    let drops = 0;
    for (const endpoint of this.#closed) {
      const snapshot = endpoint.snapshot();
      // Those of the receive queues were not received: the network counts them.
      drops += dropsTotal(snapshot) - snapshot.sockets.datagramsDropped;
    }
    return drops;
  }

  /** The number of flows that all instances removed, or refused, because the table was full. */
  get overflows(): number {
    return this.#closed.reduce((sum, endpoint) => {
      const { evicted, refused } = endpoint.snapshot().flowCounters;
      return sum + evicted + refused;
    }, 0);
  }

  /** The number of flows that moved in all instances. */
  get moved(): number {
    return this.#closed.reduce((sum, one) => sum + one.snapshot().flowCounters.moved, 0);
  }

  /** The drops by reason, as in `"egress: blocked"`. */
  dropsByReason(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const endpoint of this.#closed) {
      const { role, drops, sockets } = endpoint.snapshot();
      for (const [reason, count] of Object.entries({ ...drops, refusedSends: sockets.sendDrops })) {
        sums[`${role}: ${reason}`] = (sums[`${role}: ${reason}`] ?? 0) + count;
      }
    }
    return sums;
  }
}

/** A simulation of one scenario. */
class Simulation {
  readonly net: SimNetwork;
  readonly #scenario: Scenario;
  readonly #ledger: Ledger;
  readonly #forger: Forger;
  readonly #ingress: Half<Ingress>;
  readonly #egress: Half<Egress>;
  readonly #nats: Record<"clients" | "tunnel", SimNat | undefined>;
  #events = 0;

  constructor(scenario: Scenario) {
    const { seed, sockets: socket, wakeIntervalMs, flowsMax, idleTimeoutMs } = scenario;
    this.#scenario = scenario;
    this.net = new SimNetwork({ seed, socket, wakeIntervalMs, traceEvents: 30 });
    const { net } = this;
    this.#ledger = new Ledger(addressOf(LISTEN), addressOf(TUNNEL), scenario);
    this.#forger = new Forger(net, scenario);
    const { graceMs, hasSecretFlowIds, hasConnectionIds } = scenario;
    const limits = { flowsMax, idleTimeoutMs, graceMs };
    const connectionIdBytes = hasConnectionIds ? CONNECTION_ID_BYTES : undefined;
    const { openMs, openFailures, isClientBehindNat, isTunnelBehindNat } = scenario;
    const reliable = { openMs: 0, openFailures: 0 };
    this.#ingress = new Half(
      new SimRuntime(net, { listenHost: INGRESS, connectHost: INGRESS_OUT, ...reliable }),
      (runtime) => {
        const offset = hasSecretFlowIds ? SECRET_FLOW_ID_MIN : 0;
        const firstFlowId = offset + net.random.integer(0, 2 ** 29);
        const ids = { firstFlowId, connectionIdBytes };
        return Ingress.open({ listen: LISTEN, tunnel: TUNNEL, ...limits, ...ids, runtime });
      },
    );
    this.#egress = new Half(
      new SimRuntime(net, { listenHost: EGRESS, connectHost: EGRESS, openMs, openFailures }),
      (runtime) => Egress.open({ listen: TUNNEL, upstream: UPSTREAM, ...limits, runtime }),
    );
    const clientHosts = Array.from({ length: scenario.clients }, (_, i) => clientHost(i));
    this.#nats = {
      clients: isClientBehindNat
        ? net.nat({ outside: CLIENT_NAT, inside: clientHosts })
        : undefined,
      tunnel: isTunnelBehindNat
        ? net.nat({ outside: TUNNEL_NAT, inside: [INGRESS_OUT] })
        : undefined,
    };
    for (const section of SECTIONS) this.#setLinks(section, scenario.links[section]);
    for (const host of this.#endsOf("tunnel")[0]) net.linkOneWay(EGRESS, host, scenario.replyLink);
    net.observe(this.#ledger.observe);
    net.observe(this.#checkBounds);
  }

  /** The hosts at both ends of a section, as the network sees them. */
  #endsOf(section: Section): [string[], string] {
    const { isClientBehindNat, isTunnelBehindNat, clients } = this.#scenario;
    if (section === "upstream") return [[EGRESS], ORIGIN];
    if (section === "tunnel") return [[isTunnelBehindNat ? TUNNEL_NAT : INGRESS_OUT], EGRESS];
    const hosts = Array.from({ length: clients }, (_, i) => clientHost(i));
    return [isClientBehindNat ? [CLIENT_NAT] : hosts, INGRESS];
  }

  #setLinks(section: Section, options: LinkOptions): void {
    const [hosts, other] = this.#endsOf(section);
    for (const host of hosts) this.net.link(host, other, options);
  }

  async run(): Promise<ProxyRun> {
    const { net } = this;
    const origin = await this.#openOrigin();
    const clients = Array.from({ length: this.#scenario.clients }, (_, i) => {
      const socket = net.bind(clientHost(i), 0, { connect: addressOf(LISTEN) });
      return new SimClient(i, net, socket, this.#scenario);
    });
    await net.run(async () => {
      await this.#egress.open();
      await this.#ingress.open();
      const receiving = Promise.all(clients.map((client) => client.receive()));
      const incidents = this.#scenario.incidents.map((incident) => this.#happen(incident));
      const sending = clients.map((client) => client.send());
      const forging = this.#forger.send([addressOf(LISTEN), addressOf(TUNNEL)]);
      await Promise.all([...sending, ...incidents, this.#disturb(), forging]);
      await this.#checkProgress();
      await this.#checkExpiry();
      for (const client of clients) client.close();
      await receiving;
    }, RUN_OPTIONS);
    this.#ingress.close();
    this.#egress.close();
    origin.close();
    await net.drain(RUN_OPTIONS);
    this.#checkEnd();
    const replies = clients.reduce((sum, client) => sum + client.replies, 0);
    const drops = { ...this.#ingress.dropsByReason(), ...this.#egress.dropsByReason() };
    const moved = { ingress: this.#ingress.moved, egress: this.#egress.moved };
    return { report: net.report, digest: net.digest, replies, drops, simulatedMs: net.now, moved };
  }

  #openOrigin(): Promise<{ close(): void }> | SimOrigin {
    const { hasOversizeReplies, repliesPerRequest, lastReplyMs } = this.#scenario;
    if (hasOversizeReplies || repliesPerRequest > 1 || lastReplyMs > 0) {
      const socket = this.net.bind(UPSTREAM.hostname, UPSTREAM.port);
      return new SimOrigin(this.net, socket, this.#scenario);
    }
    const hosts = { listenHost: ORIGIN, connectHost: ORIGIN };
    const runtime = new SimRuntime(this.net, { ...hosts, openMs: 0, openFailures: 0 });
    return this.net.run(() => Origin.open({ listen: UPSTREAM, runtime }));
  }

  async #happen(incident: Incident): Promise<void> {
    const { clock } = this.net;
    await clock.sleep(incident.atMs);
    switch (incident.kind) {
      case "partition": {
        const [hosts, other] = this.#endsOf(incident.of);
        using _partition = this.net.partition(hosts, [other]);
        await clock.sleep(incident.forMs);
        return;
      }
      case "rebind":
        this.#nats[incident.of]?.rebind();
        return;
      case "mtu":
        this.#setLinks(incident.of, { mtu: incident.mtu });
        return;
      case "restart": {
        const half = incident.of === "ingress" ? this.#ingress : this.#egress;
        // Another incident may be restarting it.
        if (half.snapshot() === undefined) return;
        half.close();
        await clock.sleep(20);
        await half.open();
        return;
      }
    }
  }

  /** Sends datagrams of random bytes to both halves. */
  async #disturb(): Promise<void> {
    if (!this.#scenario.hasStranger) return;
    const random = this.net.random.fork("stranger");
    const socket = this.net.bind(STRANGER);
    for (let i = 0; i < 10; i++) {
      await this.net.clock.sleep(random.between(0, this.#scenario.pauseMs));
      // The first byte keeps random payloads from being equal.
      const payload = Uint8Array.of(i, ...random.bytes(random.integer(8, 40)));
      await socket.sendTo(payload, addressOf(random.pick([LISTEN, TUNNEL])));
    }
    await socket.sendTo(new Uint8Array(0), addressOf(TUNNEL));
    socket.close();
  }

  // -------------------------------------------------------------------------- invariants ----

  readonly #checkBounds = (): void => {
    if (++this.#events % SNAPSHOT_EVENTS !== 0) return;
    const { flowsMax } = this.#scenario;
    for (const half of [this.#ingress, this.#egress]) {
      const snapshot = half.snapshot();
      if (snapshot === undefined) continue;
      const { role, flows } = snapshot;
      require(flows >= 0 && flows <= flowsMax, () => `${role}: ${flows} flows of ${flowsMax}`);
    }
  };

  /** Waits until all datagrams have passed. None may be left in the queue of a socket then. */
  async #checkProgress(): Promise<void> {
    const { clock } = this.net;
    let digest = -1;
    while (this.net.digest !== digest) {
      digest = this.net.digest;
      await clock.sleep(QUIET_MS);
    }
    const { waiting } = this.net.report;
    require(waiting === 0, () => `${waiting} datagrams wait in the queues of idle sockets`);
  }

  /** Waits until all flows have expired. */
  async #checkExpiry(): Promise<void> {
    const { idleTimeoutMs, graceMs } = this.#scenario;
    await this.net.clock.sleep(idleTimeoutMs + graceMs + EXPIRY_MS_MAX);
    for (const half of [this.#ingress, this.#egress]) {
      const { opened } = half.runtime;
      for (const socket of opened.keys()) opened.set(socket, 0);
      const snapshot = half.snapshot();
      require(snapshot?.flows === 0, () => `${snapshot?.role}: ${snapshot?.flows} flows remain`);
      for (const [socket, reads] of opened) {
        require(!(socket.isClosed && reads > 0), () => `${snapshot?.role}: kept a closed socket`);
      }
    }
    const { sockets } = this.net;
    const open = sockets.filter(({ localAddr }) => localAddr.address === EGRESS).length;
    require(open === 1, () => `egress: ${open} open sockets without flows`);
  }

  /** Whether all flows of the egress come from one address: the table is large enough for one ingress. */
  get #hasOneTunnel(): boolean {
    const { incidents, hasStranger, forgedRequests } = this.#scenario;
    const hasMoved = incidents.some(
      (incident) =>
        (incident.kind === "rebind" && incident.of === "tunnel") ||
        (incident.kind === "restart" && incident.of === "ingress"),
    );
    return !hasStranger && forgedRequests === 0 && !hasMoved;
  }

  #checkEnd(): void {
    const { report } = this.net;
    const { sent, duplicated, received, waiting, inFlight, lostTotal } = report;
    require(sent + duplicated === received + lostTotal && waiting === 0 && inFlight === 0, () =>
      `the network lost count: ${JSON.stringify(report)}`);
    const { overflows } = this.#egress;
    require(overflows === 0 || !this.#hasOneTunnel, () => `egress: full ${overflows} times`);
    for (const { half, missing, name } of [
      { half: this.#ingress, missing: this.#ledger.ingressMissing, name: "ingress" },
      { half: this.#egress, missing: this.#ledger.egressMissing, name: "egress" },
    ]) {
      require(missing === half.drops, () =>
        `${name}: did not forward ${missing} datagrams, and counted ${half.drops} drops`);
      require(half.runtime.opening === 0, () => `${name}: a socket is still being opened`);
      for (const socket of half.runtime.opened.keys()) {
        require(socket.isClosed && !socket.isWaiting, () => `${name}: ${socket.localAddr} is open`);
      }
    }
  }
}

function addressOf({ hostname, port }: HostAndPort): SocketAddress {
  return SocketAddress.ip(hostname, port);
}

function clientHost(i: number): string {
  return `${CLIENTS}${i + 1}`;
}

/** Runs a scenario. @throws Violation if an invariant is broken, with the latest events. */
export async function runProxy(scenario: Scenario): Promise<ProxyRun> {
  const simulation = new Simulation(scenario);
  try {
    return await simulation.run();
  } catch (error) {
    if (error instanceof Error) error.message += `\n${simulation.net.trace.join("\n")}`;
    throw error;
  }
}
