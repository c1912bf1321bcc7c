/** Endpoints of `examples/quiche` for tests. */

import { BatchIo, type BatchIoOptions } from "../../examples/quiche/batch-io.ts";
import type { QuicConnection } from "../../examples/quiche/connection.ts";
import { type EndpointOptions, QuicEndpoint } from "../../examples/quiche/driver.ts";
import { installQuiche } from "../../examples/quiche/install.ts";
import type { Quiche } from "../../examples/quiche/quiche.ts";
import { PROTOCOL, serve } from "../../examples/quiche/server.ts";
import { type Identity, makeIdentity } from "../../examples/quiche/tls.ts";
import { SocketAddress } from "../../lib/index.ts";

const result = installQuiche();
/** Why these tests are skipped. Undefined if they can run. */
export const skipReason: string | undefined = result.reason;
if (skipReason !== undefined) console.log(`QUIC tests are skipped: ${skipReason}`);
export const quiche = result.quiche as Quiche;

export const identity: Identity = makeIdentity();

/** An endpoint waits that long for its peers, which are mostly closed before it. */
const CLOSE_MS_MAX = 30;

/** An endpoint, its socket, and the connections that it has accepted. */
export interface TestEndpoint extends AsyncDisposable {
  readonly endpoint: QuicEndpoint;
  readonly io: BatchIo;
  readonly accepted: QuicConnection[];
  /** Its address on 127.0.0.1. */
  readonly address: SocketAddress;
}

async function open(
  options: Partial<EndpointOptions>,
  ioOptions: Partial<BatchIoOptions>,
): Promise<TestEndpoint> {
  const io = await BatchIo.bind({ hostname: "127.0.0.1", ...ioOptions });
  const accepted: QuicConnection[] = [];
  const endpoint = new QuicEndpoint(quiche, io, {
    protocol: PROTOCOL,
    ...options,
    ...(options.identity && {
      onConnection: (connection: QuicConnection) => {
        accepted.push(connection);
        (options.onConnection ?? serve)(connection);
      },
    }),
  });
  const close = () => endpoint.close({ timeoutMs: CLOSE_MS_MAX });
  const address = SocketAddress.ip("127.0.0.1", io.localAddr.port);
  return { endpoint, io, accepted, address, [Symbol.asyncDispose]: close };
}

/** Opens a server: by default that of the demonstration. */
export function openServer(
  options: Partial<EndpointOptions> = {},
  ioOptions: Partial<BatchIoOptions> = {},
): Promise<TestEndpoint> {
  return open({ identity, ...options }, ioOptions);
}

/** Opens a client that trusts `identity`. */
export function openClient(
  options: Partial<EndpointOptions> = {},
  ioOptions: Partial<BatchIoOptions> = {},
): Promise<TestEndpoint> {
  return open({ trusted: identity.certificate, ...options }, ioOptions);
}
