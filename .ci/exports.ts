/**
 * Lets package.json export the bundles in dist/ while the package is packed, and the sources in
 * lib/ otherwise, so that installs from git need no build. `lib/outside-bun.js` needs no bundle.
 *
 *     bun .ci/exports.ts dist|lib
 */

import { join } from "node:path";

const MANIFEST = join(import.meta.dir, "../package.json");
const SOURCE = /"\.\/lib\/([^"]*)\.ts"/g;
const BUNDLE = /"\.\/dist\/([^"]*)\.js"/g;

const folder = process.argv[2];
if (folder !== "dist" && folder !== "lib") throw new Error(`expected dist or lib, got ${folder}`);
const manifest = await Bun.file(MANIFEST).json();
const exported = JSON.stringify(manifest.exports);
const changed =
  folder === "dist"
    ? exported.replace(SOURCE, '"./dist/$1.js"')
    : exported.replace(BUNDLE, '"./lib/$1.ts"');
// Other fields, such as `sideEffects`, name sources and bundles.
manifest.exports = JSON.parse(changed);
await Bun.write(MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`);
