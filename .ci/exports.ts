/**
 * Lets package.json export the bundles in dist/ while the package is packed, and the sources in lib/
 * otherwise, so that installs from git need no build.
 *
 *     bun .ci/exports.ts dist|lib
 */

import { join } from "node:path";

const MANIFEST = join(import.meta.dir, "../package.json");
const DEFAULT = /("default": )"\.\/(?:lib|dist)\/(.*)\.(?:ts|js)"/g;

const folder = process.argv[2];
if (folder !== "dist" && folder !== "lib") throw new Error(`expected dist or lib, got ${folder}`);
const extension = folder === "dist" ? "js" : "ts";
const text = await Bun.file(MANIFEST).text();
await Bun.write(MANIFEST, text.replace(DEFAULT, `$1"./${folder}/$2.${extension}"`));
