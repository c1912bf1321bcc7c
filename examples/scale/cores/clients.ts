/** Clients whose addresses change while they send the requests of a flow. */

import { SocketAddress, UdpSocket } from "../../../lib/index.ts";
import { decodeReply, encodeRequest, type Form, ID_BYTES, REPLY_BYTES } from "./protocol.ts";

/** The addresses of loopback that clients move to, and the requests from each of them. */
const ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.1.3", "127.9.0.4"];
const REQUESTS_EACH = 8;
const REPLY_TIMEOUT_MS = 5000;

/** What clients have counted. */
export interface ClientCounts {
  readonly flows: number;
  readonly answered: number;
  /** Flows that more than one Worker has answered. */
  readonly moved: number;
  /** Replies of a Worker that has not seen all earlier requests of the flow. */
  readonly incomplete: number;
  /** The number of flows that began at each Worker. */
  readonly flowsOfWorkers: readonly number[];
}

/** What the client of one flow has counted. */
interface FlowCounts {
  readonly workers: ReadonlySet<number>;
  readonly answered: number;
  readonly incomplete: number;
}

/** The client of one flow. */
interface FlowOptions {
  readonly form: Form;
  readonly index: number;
  readonly server: SocketAddress;
  /** The client continues until it aborts, and then from one address more. */
  readonly stop: AbortSignal;
  /** Is called at each reply. */
  onReply(number: number): void;
}

/** Sends the requests of one flow, one after the other, from several addresses and ports. */
async function runFlow({ form, index, server, stop, onReply }: FlowOptions): Promise<FlowCounts> {
  const workers = new Set<number>();
  const buffer = Buffer.alloc(REPLY_BYTES);
  let id = firstId(form, index);
  let number = 0;
  let incomplete = 0;
  for (let move = 0, isLast = false; !isLast; move++) {
    isLast = stop.aborted && move >= ADDRESSES.length - 1;
    const hostname = ADDRESSES[(index + move) % ADDRESSES.length] as string;
    await using socket = await UdpSocket.bind({ hostname, connect: server });
    for (let i = 0; i < REQUESTS_EACH; i++) {
      number++;
      await socket.send(encodeRequest(form, { id, number, isFirst: number === 1 }));
      await socket.recv(buffer, { signal: AbortSignal.timeout(REPLY_TIMEOUT_MS) });
      const reply = decodeReply(buffer);
      if (reply.number !== number) {
        throw new Error(`a reply to request ${number} expected, got one to ${reply.number}`);
      }
      id = reply.id;
      workers.add(reply.worker);
      if (reply.seen !== number) incomplete++;
      onReply(number);
    }
  }
  return { workers, answered: number, incomplete };
}

/** A flow ID is a number. The connection ID of a client's first packet is random. */
function firstId(form: Form, index: number): Uint8Array {
  const id = Buffer.alloc(ID_BYTES);
  if (form === "flow ID") id.writeUInt32BE(index, ID_BYTES - 4);
  else crypto.getRandomValues(id);
  return id;
}

export interface LoadOptions {
  readonly form: Form;
  readonly port: number;
  readonly workers: number;
  readonly flows: number;
  /** Is called when all flows have a first reply. The clients continue until it has resolved. */
  readonly during?: (() => Promise<void>) | undefined;
}

/** Runs the clients of all flows at the same time. */
export async function runClients({
  form,
  port,
  workers,
  flows,
  during = async () => {},
}: LoadOptions): Promise<ClientCounts> {
  const server = SocketAddress.ip("127.0.0.1", port);
  const stop = new AbortController();
  const begun = Promise.withResolvers<void>();
  let first = 0;
  const onReply = (number: number) => {
    if (number === 1 && ++first === flows) begun.resolve();
  };
  const clients = Promise.all(
    Array.from({ length: flows }, (_, index) =>
      runFlow({ form, index, server, stop: stop.signal, onReply }),
    ),
  );
  // Awaited after `during`.
  clients.catch(() => {});
  try {
    await Promise.race([begun.promise, clients]);
    await during();
  } finally {
    stop.abort();
  }
  const all = await clients;
  const sum = (count: (flow: FlowCounts) => number) =>
    all.reduce((total, flow) => total + count(flow), 0);
  return {
    flows,
    answered: sum(({ answered }) => answered),
    moved: all.filter((flow) => flow.workers.size > 1).length,
    incomplete: sum(({ incomplete }) => incomplete),
    flowsOfWorkers: Array.from(
      { length: workers },
      (_, worker) => all.filter((flow) => [...flow.workers][0] === worker).length,
    ),
  };
}
