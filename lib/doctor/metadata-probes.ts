/** Probes of metadata: it is sent over loopback, and read when datagrams arrive. */

import { SocketAddress } from "../address/socket-address.ts";
import { SendBatch } from "../batch/send-batch.ts";
import type { MetadataOptions } from "../datagram/metadata-options.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import type { TransportError } from "../datagram/transport-error.ts";
import { SO_MARK, SOL_SOCKET } from "../linux/constants.ts";
import { WouldBlock } from "../poll/poll.ts";
import { UdpSocket } from "../sockets/udp.ts";
import { errorText, probe, RECEIVE_LIMIT_MS, works } from "./probe.ts";
import { type Finding, METADATA_PROBES, type MetadataProbe } from "./report.ts";

/** The values that are sent. They differ from the defaults. */
const SENT = { ecn: 2, dscp: 10, hopLimit: 42, mark: 7 } as const;

/** Another address of the loopback interface: 127.0.0.0/8. */
const OTHER_ADDRESS = "127.0.0.2";

/** The clocks of the kernel and of Bun may differ by a step of the former. */
const TIMESTAMP_DIFFERENCE_MAX_MS = 10_000;

/** Enough datagrams for the smallest receive buffer to overflow. */
const OVERFLOWING_DATAGRAMS = 64;

type Findings = Record<MetadataProbe, Finding>;

/** Returns a finding for each kind, all equal. */
export function allMetadata(finding: Finding): Findings {
  return Object.fromEntries(METADATA_PROBES.map((kind) => [kind, finding])) as Findings;
}

/** Probes all kinds with each of `hostnames`, which are addresses of loopback. */
export async function probeMetadata(hostnames: readonly string[]): Promise<Findings> {
  const findings: Findings[] = [];
  for (const hostname of hostnames) {
    const arrival = await probeArrival(hostname).catch((error) => allMetadata(failure(error)));
    findings.push({
      ...arrival,
      socketDrops: await probe(() => probeSocketDrops(hostname)),
      source: await probe(() => probeSource(hostname)),
      transmitTime: await probe(() => probeTransmitTime(hostname)),
      transportErrors: await probe(() => probeTransportErrors(hostname)),
    });
  }
  const entries = METADATA_PROBES.map((kind) => {
    return [
      kind,
      combine(
        findings.map((one) => one[kind]),
        hostnames,
      ),
    ] as const;
  });
  return Object.fromEntries(entries) as Findings;
}

/** Returns the first finding, or the first one of a feature that does not work. */
function combine(findings: readonly Finding[], hostnames: readonly string[]): Finding {
  const failed = findings.findIndex((finding) => !finding.works);
  if (failed === -1) return findings[0] as Finding;
  return { works: false, detail: `${hostnames[failed]}: ${findings[failed]?.detail}` };
}

function failure(error: unknown): Finding {
  return { works: false, detail: errorText(error) };
}

/** Opens a receiver whose metadata of the kinds that are named is enabled, if possible. */
async function openReceiver(hostname: string, kinds: MetadataOptions, receiveBufferBytes?: number) {
  const receiver = await UdpSocket.bind({ hostname, offload: false, receiveBufferBytes });
  return { receiver, enabled: receiver.enableMetadata(kinds) };
}

const openSender = (hostname: string) => UdpSocket.bind({ hostname, offload: false });

async function receive(socket: UdpSocket): Promise<RecvMeta> {
  const signal = AbortSignal.timeout(RECEIVE_LIMIT_MS);
  return await socket.recvFrom(new Uint8Array(64), { signal });
}

/** Probes the kinds that one datagram shows. The others are overwritten by the caller. */
async function probeArrival(hostname: string): Promise<Findings> {
  const kinds = {
    destination: true,
    originalDestination: true,
    ecn: true,
    hopLimit: true,
    timestamp: true,
    mark: true,
  } as const;
  const { receiver, enabled } = await openReceiver(hostname, kinds);
  using _ = receiver;
  using sender = await openSender(hostname);
  sender.setTTL(SENT.hopLimit);
  const mark = setMark(sender);
  const { ecn, dscp } = SENT;
  const out = new SendBatch().meta({ ecn, dscp }).push(Uint8Array.of(1), receiver.localAddr);
  await sender.sendBatch(out);
  const meta = await receive(receiver);
  const { localAddr } = receiver;
  const finding = (kind: keyof typeof kinds, isRight: boolean, got: unknown): Finding => {
    if (!enabled[kind]) return { works: false, detail: "the kernel refuses the socket option" };
    return {
      works: isRight,
      detail: isRight ? `received ${got}` : `received a wrong value: ${got}`,
    };
  };
  const sentMs = Date.now();
  const receivedMs = Number((meta.timestampNs ?? 0n) / 1_000_000n);
  const isNow = Math.abs(receivedMs - sentMs) <= TIMESTAMP_DIFFERENCE_MAX_MS;
  const atInterface = `${meta.destination}, interface ${meta.interfaceIndex}`;
  const isHere = meta.destination?.equals(localAddr) === true && meta.interfaceIndex > 0;
  const isOriginal = meta.originalDestination?.equals(localAddr) === true;
  return {
    ...allMetadata({ works: false, detail: "not probed" }),
    destination: finding("destination", isHere, atInterface),
    originalDestination: finding("originalDestination", isOriginal, meta.originalDestination),
    ecn: finding("ecn", meta.ecn === ecn, meta.ecn),
    dscp: finding("ecn", meta.dscp === dscp, meta.dscp),
    hopLimit: finding("hopLimit", meta.hopLimit === SENT.hopLimit, meta.hopLimit),
    timestamp: finding("timestamp", isNow, `${meta.timestampNs} ns`),
    mark: finding("mark", meta.mark === mark.sent, `${meta.mark}${mark.note}`),
  };
}

/** Marks the datagrams of a socket if the process may do that, and returns their mark. */
function setMark(socket: UdpSocket): { readonly sent: number; readonly note: string } {
  try {
    socket.setOption(SOL_SOCKET, SO_MARK, SENT.mark);
    return { sent: SENT.mark, note: "" };
  } catch (error) {
    return { sent: 0, note: `; this process may not set one: ${errorText(error)}` };
  }
}

/** Overflows a receive buffer. The next datagram has the number of those that were dropped. */
async function probeSocketDrops(hostname: string): Promise<Finding> {
  const { receiver } = await openReceiver(hostname, { socketDrops: true }, 1);
  using _ = receiver;
  using sender = await openSender(hostname);
  const datagrams = Array.from({ length: OVERFLOWING_DATAGRAMS }, () => new Uint8Array(1000));
  await sender.sendMany(datagrams, { to: receiver.localAddr });
  const buffer = new Uint8Array(1000);
  let received = 0;
  while (receiver.tryRecv(buffer) !== WouldBlock) received++;
  await sender.sendTo(Uint8Array.of(1), receiver.localAddr);
  const { socketDrops } = await receive(receiver);
  const expected = OVERFLOWING_DATAGRAMS - received;
  if (socketDrops === expected) return works(`${expected} drops counted`);
  return { works: false, detail: `${expected} datagrams dropped, ${socketDrops} reported` };
}

/** Sends from an address that the socket is not bound to. IPv6 has only one on loopback. */
async function probeSource(hostname: string): Promise<Finding> {
  using receiver = await openSender(hostname);
  const isIPv4 = receiver.localAddr.family === "IPv4";
  using sender = await openSender(isIPv4 ? "0.0.0.0" : "::");
  const source = SocketAddress.ip(isIPv4 ? OTHER_ADDRESS : hostname, 0);
  const out = new SendBatch().meta({ source }).push(Uint8Array.of(1), receiver.localAddr);
  await sender.sendBatch(out);
  const { peer } = await receive(receiver);
  if (peer?.address === source.address) return works(`sent from ${peer.address}`);
  return { works: false, detail: `sent from ${peer?.address} instead of ${source.address}` };
}

async function probeTransmitTime(hostname: string): Promise<Finding> {
  using receiver = await openSender(hostname);
  using sender = await openSender(hostname);
  sender.setTransmitTimes("monotonic");
  const transmitTimeNs = sender.transmitClockNs;
  const out = new SendBatch().meta({ transmitTimeNs }).push(Uint8Array.of(1), receiver.localAddr);
  await sender.sendBatch(out);
  await receive(receiver);
  return works("accepted; only the qdiscs fq and etf wait for it");
}

/** Sends to a port that no socket has, and waits for the ICMP error. */
async function probeTransportErrors(hostname: string): Promise<Finding> {
  using sender = await openSender(hostname);
  const closed = await openSender(hostname);
  const { localAddr } = closed;
  closed.close();
  const { promise, resolve, reject } = Promise.withResolvers<TransportError>();
  const timer = setTimeout(() => reject(new Error("no error reported")), RECEIVE_LIMIT_MS);
  sender.onTransportError(resolve);
  try {
    await sender.sendTo(Uint8Array.of(1), localAddr);
    const { code, destination } = await promise;
    const isRight = code === "ECONNREFUSED" && destination?.equals(localAddr) === true;
    return { works: isRight, detail: `${code} reported` };
  } finally {
    clearTimeout(timer);
  }
}
