/** What a process has used so far, as the kernel tells from outside: proc(5). */

import { readdirSync, readFileSync } from "node:fs";

/** Numbers of /proc/PID/stat behind the program's name. */
const UTIME = 11;
const STIME = 12;

/** Processor time and memory. */
export interface Usage {
  /** Microseconds of all threads, exact. */
  readonly cpuUs: number;
  /** Ticks of the clock that found it in the program, and in the kernel: samples, in effect. */
  readonly userTicks: number;
  readonly systemTicks: number;
  readonly residentBytes: number;
}

export function usageOf(pid: number): Usage {
  const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8");
  const stat = read("stat");
  const numbers = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const threads = readdirSync(`/proc/${pid}/task`);
  // The first number of schedstat: nanoseconds on a processor.
  const cpuNs = threads.map((id) => Number(read(`task/${id}/schedstat`).split(" ")[0]));
  return {
    cpuUs: cpuNs.reduce((sum, ns) => sum + ns, 0) / 1e3,
    userTicks: numbers[UTIME] as number,
    systemTicks: numbers[STIME] as number,
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(read("status"))?.[1] ?? 0) * 1024,
  };
}

/** Microseconds between two looks: in the program, in the kernel, both. */
export function usedBetween(
  before: Usage,
  after: Usage,
): { readonly userUs: number; readonly systemUs: number; readonly cpuUs: number } {
  const cpuUs = after.cpuUs - before.cpuUs;
  const user = after.userTicks - before.userTicks;
  const system = after.systemTicks - before.systemTicks;
  const userUs = user + system === 0 ? 0 : (cpuUs * user) / (user + system);
  return { userUs, systemUs: cpuUs - userUs, cpuUs };
}
