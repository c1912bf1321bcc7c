/** Constants of HTTP/3, and the settings that both ends of a tunnel use. */

import type { CommonOptions, QuicSession } from "./node-quic.ts";

/** The protocol name (ALPN) of HTTP/3 (RFC 9114, section 3.1). */
export const HTTP3_PROTOCOL = "h3";

/** Error codes of streams (RFC 9114, section 8.1, and RFC 9297, section 5.2). */
export const STREAM_ERROR = {
  /** H3_NO_ERROR: the tunnel ended without a fault of the peer. */
  none: 0x100n,
  /** H3_MESSAGE_ERROR */
  message: 0x10en,
  /** H3_CONNECT_ERROR: the socket of the target failed. */
  connect: 0x10fn,
  /** H3_REQUEST_CANCELLED */
  cancelled: 0x10cn,
  /** H3_DATAGRAM_ERROR: a malformed HTTP Datagram or capsule. */
  datagram: 0x33n,
} as const;

/** DATAGRAMs that wait in a connection. `node:quic` has 128 by default, and drops the others. */
export const PENDING_DATAGRAMS_MAX = 4096;

/** The bytes of capsules that wait in a stream. Others are dropped. */
export const STREAM_BUFFER_BYTES: number = 1 << 20;

/** The longest DATAGRAM frame that an end accepts (RFC 9221, section 3). */
const DATAGRAM_FRAME_BYTES_MAX = 65_535n;
/** What a peer may send before it was read, per stream and per connection. */
const STREAM_WINDOW_BYTES = 4n << 20n;

/** Settings of a connection. */
export interface ConnectionSettings {
  /** A connection without packets ends after this time, in seconds. */
  readonly idleTimeoutS: number;
  /** Streams that the peer may have open at a time. */
  readonly streamsMax: number;
  /**
   * Whether the end accepts DATAGRAM frames. If not, all HTTP Datagrams to it are capsules on the
   * request streams (RFC 9297, section 3.5).
   */
  readonly acceptsDatagrams: boolean;
}

/** Returns the options of `node:quic` that clients and servers share. */
export function commonOptions({
  idleTimeoutS,
  streamsMax,
  acceptsDatagrams,
}: ConnectionSettings): CommonOptions {
  return {
    application: { enableConnectProtocol: true, enableDatagrams: acceptsDatagrams },
    transportParams: {
      maxDatagramFrameSize: acceptsDatagrams ? DATAGRAM_FRAME_BYTES_MAX : 0n,
      initialMaxStreamsBidi: BigInt(streamsMax),
      initialMaxData: 4n * STREAM_WINDOW_BYTES,
      initialMaxStreamDataBidiLocal: STREAM_WINDOW_BYTES,
      initialMaxStreamDataBidiRemote: STREAM_WINDOW_BYTES,
      maxIdleTimeout: BigInt(idleTimeoutS),
    },
    datagramDropPolicy: "drop-newest",
  };
}

/** Ends a connection, and reports it to the peer. Default code: H3_NO_ERROR. */
export function endSession(session: QuicSession, code: bigint = STREAM_ERROR.none): void {
  session.opened.catch(() => {});
  session.closed.catch(() => {});
  if (!session.destroyed) session.destroy(undefined, { code, type: "application" });
}
