/**
 * Finds out what this machine offers. Each feature is tried on real sockets over loopback: nothing
 * is derived from version numbers.
 */

import manifest from "../../package.json" with { type: "json" };
import { SocketAddress } from "../address/socket-address.ts";
import type { Backend } from "../engine/engine.ts";
import { Reactor } from "../readiness/reactor.ts";
import { loadNativeThread, type NativeThread } from "../readiness/thread-reactor.ts";
import { UdpSocket } from "../sockets/udp.ts";
import { UnixDatagram } from "../sockets/unix.ts";
import { checkVariables, readVariable } from "../support/environment.ts";
import { measureLoopback } from "./loopback.ts";
import { allMetadata, probeMetadata } from "./metadata-probes.ts";
import { probeOffload } from "./offload-probes.ts";
import { errorText, probe, RECEIVE_LIMIT_MS, works } from "./probe.ts";
import type { Progress } from "./progress.ts";
import { findRemedies } from "./remedies.ts";
import type { BufferLimit, Finding, Report } from "./report.ts";

const NATIVE = "the native backend";

const HOSTNAMES = { IPv4: "127.0.0.1", IPv6: "::1" } as const;

/** The maximum that SO_RCVBUF and SO_SNDBUF accept without an overflow: the kernel doubles it. */
const BUFFER_REQUEST_BYTES = 2 ** 30 - 1;

/**
 * Probes this machine.
 *
 * @throws RangeError for an invalid value of an environment variable of the library.
 */
export async function examine(progress: Progress): Promise<Report> {
  checkVariables();
  const thread = await progress.step("loading the native backend", loadBackend);
  const native = "reason" in thread ? undefined : thread;
  const name: Backend = native === undefined ? "portable" : "native";
  const reason = "reason" in thread ? thread.reason : null;
  const { families, ...features } = await probeFeatures(native, progress);
  const probed = {
    version: manifest.version,
    bun: describeBun(),
    kernel: describeKernel(),
    backend: { name, reason },
    readiness: await describeReadiness(native),
    proc: await probe(probeProc),
    families,
    ...features,
    buffers: native === undefined ? null : await probeBuffers(),
    loopback: await progress.step("measuring over loopback", () => measureLoopback(name)),
  };
  const { env, execArgv } = process;
  return { ...probed, remedies: findRemedies(probed, { env, execArgv }) };
}

function describeBun(): Report["bun"] {
  const required = manifest.engines.bun;
  const version = process.versions.bun;
  return { version, required, isSupported: Bun.semver.satisfies(version, required) };
}

function describeKernel(): Report["kernel"] {
  const { platform, arch } = process;
  return { platform, release: process.getBuiltinModule("node:os").release(), arch };
}

/** Returns the native backend, or why sockets do not use it by default. */
async function loadBackend(): Promise<NativeThread | { readonly reason: string }> {
  if (readVariable("DATAGRAM_SOCKET_BACKEND") === "portable") {
    return { reason: "DATAGRAM_SOCKET_BACKEND is portable" };
  }
  try {
    return await loadNativeThread();
  } catch (error) {
    return { reason: errorText(error) };
  }
}

async function describeReadiness(native: NativeThread | undefined): Promise<Report["readiness"]> {
  if (native === undefined) return { mode: null, reason: `requires ${NATIVE}` };
  const { mode } = native.reactor;
  if (mode === "loop") return { mode, reason: null };
  if (readVariable("DATAGRAM_SOCKET_READINESS") === "thread") {
    return { mode, reason: "DATAGRAM_SOCKET_READINESS is thread" };
  }
  try {
    await Reactor.create(native.native, "loop");
    return { mode, reason: "mode loop failed at first, and works now" };
  } catch (error) {
    return { mode, reason: errorText(error) };
  }
}

async function probeProc(): Promise<Finding> {
  const descriptors = process.getBuiltinModule("node:fs").readdirSync("/proc/self/fd");
  return works(`${descriptors.length} open descriptors`);
}

type Features = Pick<Report, "families" | "offload" | "metadata">;

async function probeFeatures(
  native: NativeThread | undefined,
  progress: Progress,
): Promise<Features> {
  const backend = native === undefined ? "portable" : "native";
  const requires = (what: string): Finding => ({ works: false, detail: `requires ${what}` });
  const families = await progress.step("probing addresses", async () => ({
    IPv4: await probe(() => probeFamily(HOSTNAMES.IPv4, backend)),
    IPv6: await probe(() => probeFamily(HOSTNAMES.IPv6, backend)),
    unix: native === undefined ? requires(NATIVE) : await probe(probeUnix),
  }));
  const usable = (["IPv4", "IPv6"] as const).filter((family) => families[family].works);
  if (native === undefined || usable.length === 0) {
    const none = requires(native === undefined ? NATIVE : "an address on loopback");
    return { families, offload: { gso: none, gro: none }, metadata: allMetadata(none) };
  }
  const hostnames = usable.map((family) => HOSTNAMES[family]);
  return {
    families,
    offload: await progress.step("probing offload", () => probeOffload(native.native, hostnames)),
    metadata: await progress.step("probing metadata", () => probeMetadata(hostnames)),
  };
}

/** Sends a datagram from an address to itself. */
async function probeFamily(hostname: string, backend: Backend): Promise<Finding> {
  using socket = await UdpSocket.bind({ hostname, backend });
  await socket.sendTo(Uint8Array.of(1, 2, 3), socket.localAddr);
  const signal = AbortSignal.timeout(RECEIVE_LIMIT_MS);
  const { length, peer } = await socket.recvFrom(new Uint8Array(8), { signal });
  return { works: length === 3, detail: `${length} bytes from ${peer}` };
}

/** Sends a datagram to a name of the abstract namespace, which needs no directory. */
async function probeUnix(): Promise<Finding> {
  const name = SocketAddress.abstract(`datagram-socket-doctor-${process.pid}`);
  using receiver = await UnixDatagram.bind(name);
  using sender = await UnixDatagram.unbound();
  await sender.sendTo(Uint8Array.of(1, 2, 3), name);
  const signal = AbortSignal.timeout(RECEIVE_LIMIT_MS);
  const length = await receiver.recv(new Uint8Array(8), { signal });
  return length === 3 ? works(`3 bytes to ${name}`) : { works: false, detail: `${length} bytes` };
}

/** Requests the largest buffers, and reads what the kernel grants. */
async function probeBuffers(): Promise<Report["buffers"]> {
  try {
    using initial = await UdpSocket.bind({ hostname: HOSTNAMES.IPv4 });
    using requested = await UdpSocket.bind({
      hostname: HOSTNAMES.IPv4,
      receiveBufferBytes: BUFFER_REQUEST_BYTES,
      sendBufferBytes: BUFFER_REQUEST_BYTES,
    });
    const [before, after] = [initial.bufferBytes, requested.bufferBytes];
    const limit = (direction: "receive" | "send"): BufferLimit => ({
      defaultBytes: before[direction],
      requestMaxBytes: after[direction] / 2,
      maxBytes: after[direction],
    });
    return { receive: limit("receive"), send: limit("send") };
  } catch {
    return null;
  }
}
