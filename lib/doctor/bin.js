#!/usr/bin/env node
/**
 * The program `datagram-socket`. In JavaScript for Node: `bunx` and `npx` run programs with it where it
 * is installed. This file then starts Bun, or prints that Bun is required if there is none.
 */

const BUN_USER_AGENT = "bun/";

if (process.versions.bun !== undefined) {
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
} else {
  const { spawnSync } = await import("node:child_process");
  const { npm_config_user_agent: agent, npm_execpath: path } = process.env;
  // `bunx` sets both, unless a script of npm runs it: those of npm remain.
  const bun = (agent?.startsWith(BUN_USER_AGENT) && path) || "bun";
  const { error, status } = spawnSync(bun, process.argv.slice(1), { stdio: "inherit" });
  if (error === undefined) {
    process.exitCode = status ?? 1;
  } else {
    const { message } = await import("../outside-bun.js").catch((reason) => reason);
    console.error(message);
    process.exitCode = 1;
  }
}
