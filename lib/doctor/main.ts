/** The command line of the program `datagram-socket`. bin.js starts it. */

import { parseArgs } from "node:util";
import { ABI_VERSION } from "../support/thread-state.ts";
import { errorText } from "./probe.ts";
import { examine } from "./probes.ts";
import { Progress } from "./progress.ts";
import { formatReport, type Report } from "./report.ts";

const USAGE = `Usage: datagram-socket doctor [--json]

Reports what this machine offers to datagram-socket, and what to change. Every feature is tried on
sockets of the loopback interface, which takes about a second.

Options:
  --json     print the report as JSON
  --help     print this help
  --version  print the version of the package

Exit codes: 0 success; 1 the native backend is unavailable on Linux; 2 wrong arguments or an invalid
environment variable.
`;

const OPTIONS = {
  json: { type: "boolean" },
  help: { type: "boolean" },
  version: { type: "boolean" },
} as const;

const EXIT = { success: 0, unavailable: 1, usage: 2 } as const;

/** Runs the program with its arguments, and returns its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const options = readArguments(args);
  if (typeof options === "string") {
    process.stderr.write(`datagram-socket: ${options}\n\n${USAGE}`);
    return EXIT.usage;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return EXIT.success;
  }
  if (options.version) {
    process.stdout.write(`${ABI_VERSION}\n`);
    return EXIT.success;
  }
  try {
    const report = await examine(new Progress({ stream: process.stderr }));
    process.stdout.write(
      options.json ? toJson(report) : formatReport(report, { colours: colours() }),
    );
    return isUnavailable(report) ? EXIT.unavailable : EXIT.success;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    process.stderr.write(`datagram-socket: ${error.message}\n`);
    return EXIT.usage;
  }
}

interface Arguments {
  readonly help: boolean;
  readonly json: boolean;
  readonly version: boolean;
}

/** Returns the options, or what is wrong with the arguments. */
function readArguments(args: readonly string[]): Arguments | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: OPTIONS,
      allowPositionals: true,
    });
    const { help = false, json = false, version = false } = values;
    const [command, ...others] = positionals;
    if (help || version) return { help, json, version };
    if (command === undefined) return "a command is missing";
    if (command !== "doctor") return `unknown command "${command}"`;
    if (others.length > 0) return `unexpected argument "${others[0]}"`;
    return { help, json, version };
  } catch (error) {
    return errorText(error);
  }
}

function isUnavailable({ backend, kernel }: Report): boolean {
  return kernel.platform === "linux" && backend.name !== "native";
}

function toJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** Whether stdout is a terminal that may show colours: https://no-color.org. */
function colours(): boolean {
  const { NO_COLOR = "", TERM } = process.env;
  return process.stdout.isTTY === true && NO_COLOR === "" && TERM !== "dumb";
}
