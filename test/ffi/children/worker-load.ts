/** Loads the shim in a Worker and posts what came of it. */

import { loadNative } from "../../../ffi/native.ts";

const loaded = loadNative();
postMessage("native" in loaded ? loaded.native.open(2, 2, 0) : loaded.reason);
