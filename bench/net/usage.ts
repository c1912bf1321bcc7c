/** CPU time and memory of processes, read from /proc (proc(5)). */

import { readFileSync } from "node:fs";
import { readProcessorClock } from "./processes.ts";

/** Indices of the fields of /proc/PID/stat, counted from the first field after the program name. */
const UTIME = 11;
const STIME = 12;
/** The same of child processes that have exited. */
const CUTIME = 13;
const CSTIME = 14;
/** Indices of the fields of the first line of /proc/stat in which no process of this system ran. */
const IDLE = 3;
const IOWAIT = 4;
const STEAL = 7;
/** The fields from this index on are included in others. */
const GUEST = 8;

/** The CPU time and the memory of a process. */
export interface Usage {
  /** The exact CPU time of all threads, including those that have exited. */
  readonly cpuUs: number;
  /** Clock ticks at which the process ran in user mode and in the kernel, respectively: samples. */
  readonly userTicks: number;
  readonly systemTicks: number;
  readonly residentBytes: number;
}

/** Reads the usage of a process since its start. */
export function usageOf(pid: number): Usage {
  const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8");
  const fields = fieldsOf(read("stat"));
  return {
    cpuUs: readProcessorClock(pid),
    userTicks: fields[UTIME] as number,
    systemTicks: fields[STIME] as number,
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(read("status"))?.[1] ?? 0) * 1024,
  };
}

/**
 * Returns the CPU time between two readings. The exact total is divided into user and system time
 * by the ratio of the ticks.
 */
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

/** Returns the CPU time of other processes, in ticks: all but this one and its exited children. */
export function othersTicks(): number {
  const [, ...all] = (readFileSync("/proc/stat", "utf8").split("\n")[0] as string).split(/ +/);
  const busy = all
    .slice(0, GUEST)
    .map((ticks, i) => ([IDLE, IOWAIT, STEAL].includes(i) ? 0 : +ticks));
  const fields = fieldsOf(readFileSync("/proc/self/stat", "utf8"));
  const own = [UTIME, STIME, CUTIME, CSTIME].map((i) => fields[i] as number);
  return sum(busy) - sum(own);
}

/** Returns the fields of /proc/PID/stat after the program name, which may contain any character. */
function fieldsOf(stat: string): number[] {
  return stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
