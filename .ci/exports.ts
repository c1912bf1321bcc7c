/**
 * Lets package.json export the bundles in dist/ while the package is packed, and the sources in
 * lib/ otherwise, so that installs from git need no build. `lib/outside-bun.js` needs no bundle.
 *
 *     bun .ci/exports.ts dist|lib
 */

import { join } from "node:path";

const MANIFEST = join(import.meta.dir, "../package.json");
const SOURCE = /"\.\/lib\/(.*)\.ts"/g;
const BUNDLE = /"\.\/dist\/(.*)\.js"/g;

const folder = process.argv[2];
if (folder !== "dist" && folder !== "lib") throw new Error(`expected dist or lib, got ${folder}`);
const text = await Bun.file(MANIFEST).text();
const changed =
  folder === "dist"
    ? text.replace(SOURCE, '"./dist/$1.js"')
    : text.replace(BUNDLE, '"./lib/$1.ts"');
await Bun.write(MANIFEST, changed);
