/** Loads the shim in a Worker and posts what came of it: a descriptor that it had, or the reason. */

import { loadNative } from "../../../ffi/native.ts";

const loaded = loadNative();
if ("native" in loaded) {
  const fd = loaded.native.open(2, 2, 0);
  loaded.native.close(fd);
  postMessage(fd);
} else {
  postMessage(loaded.reason);
}
