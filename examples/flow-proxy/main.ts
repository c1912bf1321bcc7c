/** The flow-multiplexing proxy. For its options: `bun examples/flow-proxy/main.ts --help`. */

import { HELP, readCommandLine, UsageError } from "./cli.ts";
import { run } from "./run.ts";

async function main(): Promise<number> {
  const config = await readCommandLine(process.argv.slice(2));
  if (config === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  const stop = new AbortController();
  // A second signal has the default action: it terminates the process at once.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  return run(config, stop.signal);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`flow-proxy: ${error.message}\n`);
  process.exitCode = 2;
}
