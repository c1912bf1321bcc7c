/** Loads the portable engine when a socket needs it. */

import type { PortableEngine, PortableInit } from "../engine/portable/portable-engine.ts";
import { SocketError } from "../support/errors.ts";

/** errno(3) of Linux and macOS. */
const EMFILE = 24;

/**
 * Opens a portable engine.
 *
 * @throws SocketError if the system refuses; with code `EMFILE` if the engine cannot be loaded.
 */
export async function openPortable(init: PortableInit): Promise<PortableEngine> {
  const { PortableEngine } = await load();
  return PortableEngine.open(init);
}

async function load(): Promise<typeof import("../engine/portable/portable-engine.ts")> {
  try {
    return await import("../engine/portable/portable-engine.ts");
  } catch (cause) {
    // The published bundle includes the engine. From the sources, the module loader of Bun fails if
    // no descriptor is left, and may fail again when there are some.
    const detail = `the portable backend cannot be loaded: ${(cause as Error).message}`;
    throw new SocketError({ errno: EMFILE, syscall: "open", detail, cause });
  }
}
