#!/usr/bin/env node
/**
 * The program `datagram-socket`. In JavaScript for Node: `bunx` runs programs with it where it is
 * installed, and this file then starts Bun. `npx` prints that Bun is required.
 */

const BUN_USER_AGENT = "bun/";

if (process.versions.bun !== undefined) {
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
} else if (process.env.npm_config_user_agent?.startsWith(BUN_USER_AGENT)) {
  const { spawnSync } = await import("node:child_process");
  // Bun sets the variable to its own path.
  const bun = process.env.npm_execpath ?? "bun";
  const { error, status } = spawnSync(bun, process.argv.slice(1), { stdio: "inherit" });
  if (error) console.error(`${bun}: ${error.message}`);
  process.exitCode = status ?? 1;
} else {
  const { message } = await import("../outside-bun.js").catch((error) => error);
  console.error(message);
  process.exitCode = 1;
}
