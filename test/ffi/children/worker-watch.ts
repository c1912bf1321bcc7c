/** Has a Worker's event loop watch a socket; posts its descriptor and the Watch found of it. */

import { loadShim } from "../../../ffi/load.ts";
import { findRegistration } from "../../../ffi/poller.ts";

const loaded = loadShim();
if ("reason" in loaded) throw new Error(loaded.reason);
const fd = loaded.shim.socket_open(2, 2, 0);
await Bun.udpSocket({ fd, socket: { data() {} } } as object);
postMessage({ fd, watch: findRegistration(loaded.shim, fd) });
