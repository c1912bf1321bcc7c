/** The configuration of connections, and its translation for quiche. */

import type { NativeConfig, Quiche } from "./quiche.ts";
import type { Identity } from "./tls.ts";

/** The settings of both clients and servers. Both sides must have the same `protocol`. */
export interface TransportOptions {
  /** The application protocol (ALPN). */
  readonly protocol: string;
  /** A connection without packets ends after this time. Default 10 s. */
  readonly idleTimeoutMs?: number | undefined;
  /** The bytes that a stream may send before its receiver has read them. Default 16 MiB. */
  readonly streamWindowBytes?: number | undefined;
  /** Streams that the peer may have open at a time, of each kind. Default 100. */
  readonly streamsMax?: number | undefined;
  /**
   * The connection IDs of each side: one for the current path, others for paths to migrate to. quiche
   * also has no more paths than that, counting those of the past. Default 4.
   */
  readonly connectionIdsMax?: number | undefined;
  /** DATAGRAMs that wait to be sent. Others are refused. Default 4096. */
  readonly datagramsMax?: number | undefined;
  /** The congestion control. Default `"cubic"`. */
  readonly congestionControl?: "reno" | "cubic" | "bbr" | undefined;
  /** The key and certificate: for servers, and for clients whose server requires one. */
  readonly identity?: Identity | undefined;
  /** The certificates in PEM that a client trusts. Absent: it does not verify the server. */
  readonly trusted?: string | undefined;
  /**
   * Whether the peer must have a certificate, any at all: TLS verifies only that the peer has its key.
   * The application compares `peerCertificate` with those that it knows. Default false.
   */
  readonly acceptsAnyCertificate?: boolean | undefined;
}

/**
 * The queue of received DATAGRAMs, beyond which quiche drops without counting. A packet of 1350 bytes
 * contains 450 at most: 3 bytes each, without contents. `QuicConnection` reads often enough.
 */
const RECEIVED_DATAGRAMS_MAX = 8192;
const UDP_PAYLOAD_BYTES_MAX = 65_527;
/** Translates options for quiche. The packets that it sends have at most `packetBytesMax` bytes. */
export function makeConfig(
  quiche: Quiche,
  options: TransportOptions,
  packetBytesMax: number,
): NativeConfig {
  const {
    protocol,
    idleTimeoutMs = 10_000,
    streamWindowBytes = 16 << 20,
    streamsMax = 100,
    connectionIdsMax = 4,
    datagramsMax = 4096,
    congestionControl = "cubic",
    identity,
    trusted,
    acceptsAnyCertificate = false,
  } = options;
  const config = quiche.Config.withBoringSslCtx(
    trusted !== undefined || acceptsAnyCertificate,
    acceptsAnyCertificate,
    trusted === undefined ? null : Buffer.from(trusted),
    identity === undefined ? null : [Buffer.from(identity.key)],
    identity === undefined ? null : [Buffer.from(identity.certificate)],
    null,
  );
  config.setApplicationProtos([protocol]);
  config.setMaxIdleTimeout(idleTimeoutMs);
  config.setMaxRecvUdpPayloadSize(UDP_PAYLOAD_BYTES_MAX);
  config.setMaxSendUdpPayloadSize(packetBytesMax);
  config.setInitialMaxData(2 * streamWindowBytes);
  config.setMaxConnectionWindow(2 * streamWindowBytes);
  config.setMaxStreamWindow(streamWindowBytes);
  config.setInitialMaxStreamDataBidiLocal(streamWindowBytes);
  config.setInitialMaxStreamDataBidiRemote(streamWindowBytes);
  config.setInitialMaxStreamDataUni(streamWindowBytes);
  config.setInitialMaxStreamsBidi(streamsMax);
  config.setInitialMaxStreamsUni(streamsMax);
  config.setActiveConnectionIdLimit(connectionIdsMax);
  config.setDisableActiveMigration(false);
  config.setCcAlgorithmName(congestionControl);
  // The native module does not reveal the times that quiche would have packets sent at.
  config.enablePacing(false);
  config.enableDgram(true, RECEIVED_DATAGRAMS_MAX, datagramsMax);
  return config;
}
