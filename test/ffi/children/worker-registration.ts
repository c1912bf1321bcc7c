/** Opens a socket in a Worker, and posts its descriptor and epoll registration. */

import { loadShim } from "../../../ffi/load.ts";
import { findRegistration } from "../../../ffi/poller.ts";
import { loadedNative } from "../tools.ts";

const loaded = loadShim();
if ("reason" in loaded) throw new Error(loaded.reason);
const fd = loadedNative().open(2, 2, 0);
await Bun.udpSocket({ fd, socket: { data() {} } } as object);
postMessage({ fd, registration: findRegistration(loaded.shim, fd) });
