/** Loads the shim in a Worker, and posts a descriptor that it opened, or why loading failed. */

import { loadNative } from "../../../ffi/native.ts";

const loaded = loadNative();
if ("native" in loaded) {
  const fd = loaded.native.open(2, 2, 0);
  loaded.native.close(fd);
  postMessage(fd);
} else {
  postMessage(loaded.reason);
}
