/** A proxy, an echo server, and raw HTTP/3 clients for tests. */

import { AllowList } from "../../examples/masque/allow-list.ts";
import { type ClientOptions, MasqueClient } from "../../examples/masque/client.ts";
import { commonOptions, endSession } from "../../examples/masque/http3.ts";
import {
  type Headers,
  loadNodeQuic,
  type NodeQuic,
  type QuicSession,
  type QuicStream,
} from "../../examples/masque/node-quic.ts";
import { MasqueServer, type ServerOptions } from "../../examples/masque/server.ts";
import { type Identity, makeIdentity } from "../../examples/quiche/tls.ts";
import { UdpSocket } from "../../lib/index.ts";

const loaded = loadNodeQuic();
/** Why these tests are skipped. Undefined if they can run. */
export const skipReason: string | undefined = loaded.reason;
if (skipReason !== undefined) console.log(`MASQUE tests are skipped: ${skipReason}`);
export const quic = loaded.quic as NodeQuic;
export const identity: Identity = makeIdentity();
export const ANY_PORT = { hostname: "127.0.0.1", port: 0 } as const;
export const PATH = "/.well-known/masque/udp/";
const WAIT_MS_MAX = 5000;

/** A proxy that allows loopback addresses. */
export class TestProxy implements AsyncDisposable {
  readonly server: MasqueServer;

  private constructor(server: MasqueServer) {
    this.server = server;
  }

  static async start(options: Partial<ServerOptions> = {}): Promise<TestProxy> {
    const allowList = new AllowList(["127.0.0.0/8"]);
    const all = { listen: ANY_PORT, identity, allowList, ...options };
    return new TestProxy(await MasqueServer.listen(quic, all));
  }

  get counters(): MasqueServer["counters"] {
    return this.server.counters;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
  }
}

/** An echo server on loopback that records how much it received. */
export async function startEcho(): Promise<UdpSocket> {
  const socket = await UdpSocket.bind({ hostname: "127.0.0.1", sendErrors: "drop" });
  void (async () => {
    for await (const { data, peer } of socket) if (peer) await socket.sendTo(data, peer);
  })();
  return socket;
}

/** Opens a client of the example, with the echo server as the target. */
export async function openClient(
  proxyPort: number,
  targetPort: number,
  options: Partial<ClientOptions> = {},
): Promise<MasqueClient & AsyncDisposable> {
  const client = await MasqueClient.open(quic, {
    listen: ANY_PORT,
    template: `https://localhost:${proxyPort}${PATH}{target_host}/{target_port}/`,
    target: { host: "127.0.0.1", port: targetPort },
    ca: identity.certificate,
    ...options,
  });
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}

/** A response, and the stream that it came on. */
export interface Response {
  readonly status: number;
  readonly headers: Headers;
  readonly stream: QuicStream;
}

/** An HTTP/3 client that sends whatever a test wants. */
export class RawClient implements AsyncDisposable {
  readonly session: QuicSession;
  readonly datagrams: Uint8Array[] = [];

  private constructor(session: QuicSession) {
    this.session = session;
    session.maxPendingDatagrams = 4096;
    session.ondatagram = (bytes) => this.datagrams.push(bytes);
    session.closed.catch(() => {});
  }

  static async connect(port: number, acceptsDatagrams = true): Promise<RawClient> {
    const session = await quic.connect(
      { address: "127.0.0.1", port, family: "ipv4" },
      {
        alpn: "h3",
        servername: "localhost",
        ca: [Buffer.from(identity.certificate)],
        reuseEndpoint: false,
        ...commonOptions({ idleTimeoutS: 10, streamsMax: 1, acceptsDatagrams }),
      },
    );
    await session.opened;
    return new RawClient(session);
  }

  /** Opens a stream with these headers, without waiting for the response. */
  async open(headers: Headers): Promise<{ stream: QuicStream; response: Promise<Response> }> {
    const stream = await this.session.createBidirectionalStream();
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    promise.catch(() => {});
    stream.closed.then(
      () => reject(new Error("ended without a response")),
      (error) => reject(error),
    );
    stream.onheaders = (fields) =>
      resolve({ status: Number(fields[":status"]), headers: fields, stream });
    void stream.writer;
    stream.sendHeaders(headers, { terminal: false });
    return { stream, response: promise };
  }

  async request(headers: Headers): Promise<Response> {
    return (await this.open(headers)).response;
  }

  /** Requests a tunnel. */
  connectUdp(host: string, port: number | string, more: Headers = {}): Promise<Response> {
    return this.request({ ...connectHeaders(`${PATH}${host}/${port}/`), ...more });
  }

  /** Sends a frame with these bytes. */
  async send(...bytes: readonly number[]): Promise<void> {
    await this.session.sendDatagram(Uint8Array.from(bytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { endpoint } = this.session;
    endSession(this.session);
    await endpoint?.destroy().catch(() => {});
  }
}

/** The fields of a connect-udp request. */
export function connectHeaders(path: string): Record<string, string> {
  return {
    ":method": "CONNECT",
    ":protocol": "connect-udp",
    ":scheme": "https",
    ":authority": "localhost",
    ":path": path,
    "capsule-protocol": "?1",
  };
}

/** Waits until a condition holds that no event reports. */
export async function until(isTrue: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + WAIT_MS_MAX;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`not within ${WAIT_MS_MAX} ms: ${what}`);
    await Bun.sleep(2);
  }
}

/** Sends `text` and returns the reply, repeating it each `repeatMs` until there is one. */
export async function ask(socket: UdpSocket, text: string, repeatMs = 1000): Promise<string> {
  const reply = Buffer.alloc(70_000);
  const endMs = performance.now() + WAIT_MS_MAX;
  while (performance.now() < endMs) {
    await socket.send(text);
    const signal = AbortSignal.timeout(repeatMs);
    const length = await socket.recv(reply, { signal }).catch(() => -1);
    if (length >= 0) return reply.toString("utf8", 0, length);
  }
  throw new Error("no reply");
}

/** Opens a local peer of a client. */
export function openPeer(client: MasqueClient): Promise<UdpSocket> {
  const peer = { hostname: "127.0.0.1", port: client.localAddr.port };
  return UdpSocket.connect(peer, { sendErrors: "drop" });
}
