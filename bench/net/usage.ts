/** What processes have used so far, as the kernel tells from outside: proc(5). */

import { readFileSync } from "node:fs";
import { readProcessorClock } from "./processes.ts";

/** Numbers of /proc/PID/stat behind the program's name. */
const UTIME = 11;
const STIME = 12;
/** The same of children that have ended. */
const CUTIME = 13;
const CSTIME = 14;
/** Numbers of the first line of /proc/stat: nobody's time. */
const IDLE = 3;
const IOWAIT = 4;
const STEAL = 7;
/** From here on they are parts of others. */
const GUEST = 8;

/** Processor time and memory of a process. */
export interface Usage {
  /** Microseconds of all threads, also of those that have ended: exact. */
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
  return {
    cpuUs: readProcessorClock(pid),
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

/** Ticks so far that processors spent on anything but this process and its children that ended. */
export function othersTicks(): number {
  const [, ...all] = (readFileSync("/proc/stat", "utf8").split("\n")[0] as string).split(/ +/);
  const busy = all
    .slice(0, GUEST)
    .map((ticks, i) => ([IDLE, IOWAIT, STEAL].includes(i) ? 0 : +ticks));
  const mine = numbersOf(readFileSync("/proc/self/stat", "utf8"));
  const own = [UTIME, STIME, CUTIME, CSTIME].map((i) => mine[i] as number);
  return sum(busy) - sum(own);
}

/** The numbers of /proc/PID/stat behind the program's name, which may have any characters. */
function numbersOf(stat: string): number[] {
  return stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
