/**
 * Loaded before the test files (bunfig.toml). Without a loopback address, skips the files that need
 * one, and prints the reason.
 */

import { networkInterfaces } from "node:os";
import { relative } from "node:path";
import { plugin } from "bun";

/** The files that need no IP address, relative to test/. All others do. */
const LOCAL_FILES: RegExp =
  /^(address|buffer|poll|support)\/|^(linux\/cmsg|sockets\/unix)|^(project\/(?!deployment|documents|package|readme)|traits\/(?!maybe-connected|recv-batch))/;

const hasLoopback = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "127.0.0.1"),
);

if (!hasLoopback) {
  console.warn("skipped: all test files that need a loopback address (no interface has 127.0.0.1)");
  plugin({
    name: "skip files that need loopback",
    setup(build) {
      build.onLoad({ filter: /\.test\.ts$/ }, async ({ path }) => {
        if (LOCAL_FILES.test(relative(import.meta.dir, path))) {
          return { contents: await Bun.file(path).text(), loader: "ts" };
        }
        const contents = `import { test } from "bun:test"; test.skip("needs a loopback address", () => {});`;
        return { contents, loader: "ts" };
      });
    },
  });
}
