/** What to change where something is missing. Commands can be pasted into a shell. */

import type { BufferLimit, Remedy, Report } from "./report.ts";

/**
 * The buffer sizes that a proxy should be able to request. The kernel doubles the size and charges
 * 2304 bytes for a datagram of 1200: this holds what arrives at 3.5 Gbit/s while the process does
 * not run for 10 ms.
 */
export const BUFFER_BYTES_WANTED: number = 4 * 2 ** 20;

/** What the process was started with. */
export interface Launch {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execArgv: readonly string[];
}

type Probed = Omit<Report, "remedies">;

/** Returns what to change on Linux. Elsewhere the portable backend is all there is. */
export function findRemedies(report: Probed, launch: Launch): Remedy[] {
  const remedies = report.bun.isSupported
    ? []
    : [remedy(`Bun ${report.bun.required} is required`, ["bun upgrade"])];
  if (report.kernel.platform !== "linux") return remedies;
  return [
    ...remedies,
    ...forBackend(report, launch),
    ...forProc(report),
    ...forVariables(launch),
    ...forAddresses(report),
    ...forMetadata(report),
    ...forBuffers(report),
  ];
}

function remedy(
  problem: string,
  commands: readonly string[],
  containerOptions: readonly string[] = [],
): Remedy {
  return { problem, commands, containerOptions };
}

function forBackend({ backend }: Probed, { env, execArgv }: Launch): Remedy[] {
  const { reason } = backend;
  if (reason === null) return [];
  if (reason.includes("--no-ffi-cc")) {
    const isOption = env.BUN_OPTIONS?.includes("--no-ffi-cc") === true;
    const problem = "the compiler of Bun is disabled by --no-ffi-cc";
    if (isOption) return [remedy(problem, ["unset BUN_OPTIONS"])];
    const others = execArgv.filter((option) => option !== "--no-ffi-cc");
    return [remedy(problem, [["bun", ...others, "x datagram-socket doctor"].join(" ")])];
  }
  if (!reason.includes("TMPDIR")) return [];
  const problem = "no directory is writable, which the compiler of Bun needs without /proc";
  return [remedy(problem, ["export TMPDIR=/dev/shm"], ["--tmpfs /tmp"])];
}

function forProc({ proc, backend }: Probed): Remedy[] {
  if (proc.works) return [];
  const effect =
    backend.name === "native"
      ? "a helper thread waits for the sockets"
      : "the native backend may be unavailable";
  return [remedy(`/proc is not accessible: ${effect}`, ["mount -t proc proc /proc"])];
}

/** Variables that switch something off. */
const SWITCHES = [
  ["DATAGRAM_SOCKET_BACKEND", "portable", "disables the native backend"],
  ["DATAGRAM_SOCKET_READINESS", "thread", "adds a wake-up to each event"],
  ["DATAGRAM_SOCKET_OFFLOAD", "off", "disables GSO and GRO"],
] as const;

function forVariables({ env }: Launch): Remedy[] {
  return SWITCHES.filter(([name, value]) => env[name] === value).map(([name, value, effect]) => {
    return remedy(`${name}=${value} ${effect}`, [`unset ${name}`]);
  });
}

/** Errors of an interface without addresses, or that is down. */
const UNREACHABLE = /ENETUNREACH|EADDRNOTAVAIL/;

function forAddresses({ families }: Probed): Remedy[] {
  const { IPv4, IPv6 } = families;
  if (!IPv4.works && UNREACHABLE.test(IPv4.detail)) {
    return [remedy("the loopback interface is down", ["ip link set lo up"])];
  }
  if (IPv6.works || !UNREACHABLE.test(IPv6.detail)) return [];
  const setting = "net.ipv6.conf.all.disable_ipv6=0";
  return [remedy("IPv6 is disabled", [`sysctl -w ${setting}`], [`--sysctl ${setting}`])];
}

function forMetadata({ metadata }: Probed): Remedy[] {
  // If nothing works, the reason is another one.
  if (metadata.mark.works || !metadata.destination.works) return [];
  const problem = "the kernel does not report marks to this process";
  const command = 'setcap cap_net_admin+ep "$(command -v bun)"';
  return [remedy(problem, [command], ["--cap-add NET_ADMIN"])];
}

function forBuffers({ buffers }: Probed): Remedy[] {
  if (buffers === null) return [];
  return [
    ...forBuffer("receive", buffers.receive, "net.core.rmem_max"),
    ...forBuffer("send", buffers.send, "net.core.wmem_max"),
  ];
}

function forBuffer(direction: string, limit: BufferLimit, setting: string): Remedy[] {
  const { requestMaxBytes } = limit;
  if (requestMaxBytes >= BUFFER_BYTES_WANTED) return [];
  const problem = `${setting} limits the ${direction} buffer to ${requestMaxBytes} bytes`;
  return [
    remedy(`${problem}; set it on the host`, [`sysctl -w ${setting}=${BUFFER_BYTES_WANTED}`]),
  ];
}
