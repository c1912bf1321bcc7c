/** The names that Node keeps for old programs, with its warning DEP0112. */

import { EINVAL, errnoOf } from "./errors.ts";
import { UdpHandle } from "./handle.ts";
import { DgramSocket } from "./socket.ts";
import { openHandle, type State, stateOf } from "./state.ts";

const { deprecate } = process.getBuiltinModule("node:util");

/** The properties of `Socket`, and the fields of its state that they stand for. */
const PROPERTIES = {
  _handle: "handle",
  _receiving: "receiving",
  _bindState: "bindState",
  _queue: "queue",
  _reuseAddr: "reuseAddr",
} satisfies Record<string, keyof State>;

/** Adds the deprecated properties and methods to the prototype of sockets. */
export function addDeprecated(): void {
  const prototype = DgramSocket.prototype as DgramSocket & Record<string, unknown>;
  for (const [name, field] of Object.entries(PROPERTIES)) {
    const message = `Socket.prototype.${name} is deprecated`;
    Object.defineProperty(prototype, name, {
      configurable: true,
      get: deprecate(
        function (this: DgramSocket) {
          return stateOf(this)[field];
        },
        message,
        "DEP0112",
      ),
      set: deprecate(
        function (this: DgramSocket, value: unknown) {
          Object.assign(stateOf(this), { [field]: value });
        },
        message,
        "DEP0112",
      ),
    });
  }
  prototype._healthCheck = deprecate(
    function (this: DgramSocket) {
      openHandle(this);
    },
    "Socket.prototype._healthCheck() is deprecated",
    "DEP0112",
  );
  prototype._stopReceiving = deprecate(
    function (this: DgramSocket) {
      stateOf(this).receiving = false;
    },
    "Socket.prototype._stopReceiving() is deprecated",
    "DEP0112",
  );
}

/** Returns a handle for `bind`, or an error number, negative. */
function createHandle(
  address: string | undefined,
  port: number | undefined,
  type: string,
  fd?: number,
  flags = 0,
): UdpHandle | number {
  const handle = new UdpHandle(type, undefined);
  let result: number | Error = 0;
  const done = (value: number | Error) => {
    result = value;
  };
  try {
    if (typeof fd === "number" && fd > 0) handle.open(fd, false, done);
    else if (port || address) {
      const options = {
        reuseAddr: (flags & 4) !== 0,
        reusePort: false,
        ipv6Only: (flags & 1) !== 0,
      };
      const request = { ip: address ?? handle.any, port: port ?? 0, isShared: false, ...options };
      handle.bind(request, done);
    }
  } catch (error) {
    const { code } = error as { code?: unknown };
    result = code === "ERR_INVALID_FD_TYPE" ? -EINVAL : -errnoOf(error);
  }
  if (result === 0) return handle;
  handle.close();
  return typeof result === "number" ? result : -errnoOf(result);
}

/** As `dgram._createSocketHandle`. */
export const _createSocketHandle: typeof createHandle = deprecate(
  createHandle,
  "dgram._createSocketHandle() is deprecated",
  "DEP0112",
);
