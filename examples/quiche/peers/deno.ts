/** Deno's QUIC (quinn) as a peer. Needs `--unstable-net`. */

import { bodyBlocks } from "../body.ts";
import { type PeerStack, PROTOCOL, runPeer } from "./peer.ts";

/** The parts of Deno that are used here. */
declare const Deno: {
  readonly QuicEndpoint: new (options: {
    hostname: string;
  }) => {
    readonly addr: { readonly port: number };
    listen(options: object): { accept(): Promise<Connection> };
  };
  connectQuic(options: object): Promise<Connection>;
};

interface Connection {
  readonly incomingBidirectionalStreams: ReadableStream<Stream>;
  readonly closed: Promise<unknown>;
  createBidirectionalStream(): Promise<Stream>;
  sendDatagram(bytes: Uint8Array): Promise<void>;
  readDatagram(): Promise<Uint8Array>;
}

interface Stream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

const stack: PeerStack = {
  async serve({ key, certificate: cert }) {
    const endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1" });
    const listener = endpoint.listen({ key, cert, alpnProtocols: [PROTOCOL] });
    void acceptAll(listener);
    return endpoint.addr.port;
  },

  async connect(port, certificate) {
    const connection = await Deno.connectQuic({
      hostname: "127.0.0.1",
      port,
      serverName: "localhost",
      alpnProtocols: [PROTOCOL],
      caCerts: [certificate],
    });
    connection.closed.catch(() => {});
    return {
      async *request(text) {
        const stream = await connection.createBidirectionalStream();
        const writer = stream.writable.getWriter();
        await writer.write(new TextEncoder().encode(text));
        await writer.close();
        yield* stream.readable;
      },
      sendDatagram: (bytes) => connection.sendDatagram(bytes),
      onDatagram: (handler) => void readDatagrams(connection, handler),
    };
  },
};

async function acceptAll(listener: { accept(): Promise<Connection> }): Promise<void> {
  for (;;) {
    const connection = await listener.accept();
    connection.closed.catch(() => {});
    void readDatagrams(connection, (bytes) => void connection.sendDatagram(bytes));
    void serveStreams(connection).catch(() => {});
  }
}

async function serveStreams(connection: Connection): Promise<void> {
  for await (const stream of connection.incomingBidirectionalStreams) {
    void serveStream(stream).catch(() => {});
  }
}

async function serveStream({ readable, writable }: Stream): Promise<void> {
  let request = "";
  for await (const chunk of readable) request += new TextDecoder().decode(chunk);
  const writer = writable.getWriter();
  for (const block of bodyBlocks(Number(request))) await writer.write(block);
  await writer.close();
}

/** Ends with the connection, when `readDatagram` rejects. */
async function readDatagrams(
  connection: Connection,
  handler: (bytes: Uint8Array) => void,
): Promise<void> {
  try {
    for (;;) handler(await connection.readDatagram());
  } catch {}
}

await runPeer(stack);
