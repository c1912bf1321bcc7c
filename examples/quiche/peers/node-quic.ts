/** Bun's `node:quic` (ngtcp2), which is experimental, as a peer. */

import { createPrivateKey } from "node:crypto";
import { createRequire } from "node:module";
import { bodyBlocks } from "../body.ts";
import { type PeerStack, PROTOCOL, runPeer } from "./peer.ts";

/** The parts of `node:quic` that are used here. Bun's types lack the module. */
interface NodeQuic {
  listen(onSession: (session: Session) => void, options: object): Promise<Endpoint>;
  connect(address: { address: string; port: number }, options: object): Promise<Session>;
}

interface Endpoint {
  readonly address: { readonly port: number };
}

interface Session {
  onstream: ((stream: Stream) => void) | undefined;
  ondatagram: ((bytes: Uint8Array) => void) | undefined;
  readonly opened: Promise<unknown>;
  readonly closed: Promise<void>;
  maxPendingDatagrams: number;
  createBidirectionalStream(options: { body?: unknown }): Promise<Stream>;
  sendDatagram(bytes: Uint8Array): Promise<bigint>;
}

interface Stream extends AsyncIterable<readonly Uint8Array[]> {
  setBody(body: unknown): void;
  readonly closed: Promise<void>;
}

const quic = createRequire(import.meta.url)("node:quic") as NodeQuic;
const PENDING_DATAGRAMS_MAX = 4096;
const WINDOW_BYTES = 16n << 20n;
const transportParams = {
  maxDatagramFrameSize: 65_535n,
  initialMaxData: 2n * WINDOW_BYTES,
  initialMaxStreamDataBidiLocal: WINDOW_BYTES,
  initialMaxStreamDataBidiRemote: WINDOW_BYTES,
  initialMaxStreamsBidi: 100n,
};

const stack: PeerStack = {
  async serve({ key, certificate }) {
    const endpoint = await quic.listen(serveSession, {
      endpoint: { address: "127.0.0.1:0" },
      alpn: [PROTOCOL],
      sni: { "*": { keys: [createPrivateKey(key)], certs: [Buffer.from(certificate)] } },
      transportParams,
    });
    return endpoint.address.port;
  },

  async connect(port, certificate) {
    const session = await quic.connect(
      { address: "127.0.0.1", port },
      { alpn: PROTOCOL, servername: "localhost", ca: [Buffer.from(certificate)], transportParams },
    );
    session.maxPendingDatagrams = PENDING_DATAGRAMS_MAX;
    session.closed.catch(() => {});
    await session.opened;
    return {
      async *request(text) {
        const stream = await session.createBidirectionalStream({ body: Buffer.from(text) });
        stream.closed.catch(() => {});
        for await (const chunks of stream) yield* chunks;
      },
      sendDatagram: async (bytes) => void (await session.sendDatagram(bytes)),
      onDatagram: (handler) => {
        session.ondatagram = handler;
      },
    };
  },
};

function serveSession(session: Session): void {
  session.maxPendingDatagrams = PENDING_DATAGRAMS_MAX;
  session.closed.catch(() => {});
  session.ondatagram = (bytes) => void session.sendDatagram(bytes);
  session.onstream = (stream) => {
    stream.closed.catch(() => {});
    void serveStream(stream);
  };
}

async function serveStream(stream: Stream): Promise<void> {
  const request: Uint8Array[] = [];
  for await (const chunks of stream) request.push(...chunks);
  stream.setBody(copies(Number(Buffer.concat(request).toString())));
}

/** Yields copies of the blocks of a body: `node:quic` takes their ownership. */
async function* copies(bytes: number): AsyncGenerator<Uint8Array, void, void> {
  for (const block of bodyBlocks(bytes)) yield block.slice();
}

await runPeer(stack);
