/** The connect-udp proxy. For its options: `bun examples/masque/main.ts --help`. */

import { HELP, readCommandLine, UsageError } from "./cli.ts";
import { run } from "./run.ts";

async function main(): Promise<number> {
  const config = readCommandLine(process.argv.slice(2));
  if (config === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  const stop = new AbortController();
  // A second signal has the default action: it terminates the process at once.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  return run(config, stop.signal);
}

let code: number;
try {
  code = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`masque: ${error.message}\n`);
  code = 2;
}
// Connections that are being closed may keep the process alive for seconds.
process.exit(code);
