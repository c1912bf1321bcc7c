/**
 * More cores: Workers with a socket each share a port, and the kernel assigns flows to them. Checks by
 * counts that flows stay on their Worker with steering, and that they move without it.
 */

import { UdpSocket } from "../../../lib/index.ts";
import { Checks, expectEqual, type PartResult } from "../../tools/checks.ts";
import { type ClientCounts, runClients } from "./clients.ts";
import type { Form } from "./protocol.ts";
import { WorkerGroup } from "./worker-group.ts";

const WORKERS = 4;
const FLOWS = 64;

/** Runs the clients of all flows against a group, and compares the counts of both sides. */
async function runLoad(group: WorkerGroup, during?: () => Promise<void>): Promise<ClientCounts> {
  const { form, port, size: workers } = group;
  const counts = await runClients({ form, port, workers, flows: FLOWS, during });
  let received = 0;
  let answered = 0;
  for (const server of await group.counts()) {
    received += server.received;
    answered += server.answered;
  }
  // Each request has had its reply, or the clients would have failed.
  expectEqual("requests that the Workers received", received, counts.answered);
  expectEqual("requests that the Workers answered", answered, counts.answered);
  return counts;
}

/** @throws Error if a flow has left its Worker. */
function expectStable({ moved, incomplete }: ClientCounts): void {
  expectEqual("flows that moved", moved, 0);
  expectEqual("replies without the state of the flow", incomplete, 0);
}

async function withoutSteering(): Promise<string> {
  await using group = await WorkerGroup.start("flow ID", WORKERS);
  const { moved, incomplete } = await runLoad(group);
  // Each client has four addresses: all on one of four Workers once in 64 cases.
  if (moved < FLOWS / 2) throw new Error(`${FLOWS / 2} flows that move expected, got ${moved}`);
  return `${moved} of ${FLOWS} flows moved, ${incomplete} replies without their state`;
}

async function withSteering(form: Form): Promise<string> {
  await using group = await WorkerGroup.start(form, WORKERS);
  await group.steer();
  const counts = await runLoad(group);
  expectStable(counts);
  const { flowsOfWorkers } = counts;
  if (form === "flow ID") {
    for (const flows of flowsOfWorkers) expectEqual("flows of a Worker", flows, FLOWS / WORKERS);
  }
  return `0 of ${FLOWS} flows moved; flows of the Workers: ${flowsOfWorkers.join(", ")}`;
}

async function replaceWorkers(): Promise<string> {
  await using group = await WorkerGroup.start("flow ID", WORKERS);
  await group.steer();
  const counts = await runLoad(group, async () => {
    for (let worker = 0; worker < WORKERS; worker++) await group.replace(worker);
  });
  expectStable(counts);
  const servers = await group.counts();
  expectEqual("Workers", servers.length, 2 * WORKERS);
  if (servers.some(({ answered }) => answered === 0)) {
    throw new Error("replies of every Worker and every successor expected");
  }
  return `${WORKERS} Workers replaced, ${counts.answered} requests, 0 lost, 0 flows moved`;
}

/** Runs the part. */
export async function runCores(): Promise<PartResult> {
  const checks = new Checks();
  console.log(`more cores: ${WORKERS} Workers, ${FLOWS} flows, 4 addresses each`);
  try {
    const options = { hostname: "127.0.0.1", backend: "native", reusePort: true } as const;
    await using socket = await UdpSocket.bind(options);
    socket.setReusePortSteering({ offset: 0, bytes: 1, sockets: 1 });
  } catch (error) {
    checks.skip("more cores", `steering is not available: ${(error as Error).message}`);
    return checks;
  }
  await checks.run("without steering", withoutSteering);
  await checks.run("steering by flow ID", () => withSteering("flow ID"));
  await checks.run("steering by QUIC connection ID", () => withSteering("connection ID"));
  await checks.run("Workers replaced under load", replaceWorkers);
  return checks;
}
