/**
 * A relay as it is usually written: a socket for the clients, one connected socket per client to
 * the upstream, every datagram sent as it arrives. Prints its port, and for every line on standard
 * input what it has sent to clients.
 *
 *     single UPSTREAM_PORT     one process between clients and upstream
 *     ingress EGRESS_PORT      the half of a flow proxy at the clients: adds and removes flow IDs
 *     egress UPSTREAM_PORT     the half at the upstream
 */

import { print } from "../peers/meter.ts";

type OnData = (data: Buffer, port: number, address: string) => void;

/** The sockets of an API, on 127.0.0.1. */
export interface Sockets {
  listen(onData: OnData): Promise<{ port: number; send: OnData }>;
  connect(port: number, onData: (data: Buffer) => void): Promise<(data: Buffer) => void>;
}

const FLOW_ID_BYTES = 4;

/** Runs the role that the command line names. */
export async function runRelay({ listen, connect }: Sockets): Promise<void> {
  const [role, port] = [process.argv[2], Number(process.argv[3])];
  const sent = { datagrams: 0, bytes: 0 };
  const flows = new Map<string, Promise<(data: Buffer) => void>>();

  const server = await listen(role === "ingress" ? fromClient() : fromDownstream);
  print({ port: server.port });
  for await (const _line of console) print(sent);

  function reply(data: Buffer, toPort: number, address: string): void {
    sent.datagrams++;
    sent.bytes += data.length;
    server.send(data, toPort, address);
  }

  /** Of `single` and `egress`: a flow is a client, or an ID of an ingress. */
  async function fromDownstream(data: Buffer, toPort: number, address: string): Promise<void> {
    const id = role === "egress" ? Buffer.from(data.subarray(0, FLOW_ID_BYTES)) : undefined;
    const key = `${address}:${toPort}:${id?.readUInt32BE()}`;
    let flow = flows.get(key);
    if (flow === undefined) {
      flow = connect(port, (answer) =>
        reply(id === undefined ? answer : Buffer.concat([id, answer]), toPort, address),
      );
      flows.set(key, flow);
    }
    (await flow)(id === undefined ? data : data.subarray(FLOW_ID_BYTES));
  }

  /** Of `ingress`: all flows share one socket to the egress. */
  function fromClient(): OnData {
    const ids = new Map<string, Buffer>();
    const clients: { port: number; address: string }[] = [];
    const tunnel = connect(port, (data) => {
      const client = clients[data.readUInt32BE()];
      if (client) reply(data.subarray(FLOW_ID_BYTES), client.port, client.address);
    });
    return async (data, fromPort, address) => {
      const key = `${address}:${fromPort}`;
      let id = ids.get(key);
      if (id === undefined) {
        id = Buffer.alloc(FLOW_ID_BYTES);
        id.writeUInt32BE(clients.length);
        clients.push({ port: fromPort, address });
        ids.set(key, id);
      }
      const datagram = Buffer.concat([id, data]);
      (await tunnel)(datagram);
    };
  }
}
