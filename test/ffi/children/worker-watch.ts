/** Has a Worker's event loop watch a socket; posts its descriptor and the Watch found of it. */

import { findWatch } from "../../../ffi/event-loop.ts";
import { loadNative } from "../../../ffi/native.ts";

const loaded = loadNative();
if ("reason" in loaded) throw new Error(loaded.reason);
const fd = loaded.native.open(2, 2, 0);
await Bun.udpSocket({ fd, socket: { data() {} } } as object);
postMessage({ fd, watch: findWatch(fd) });
