/** Frames of HTTP/3 (RFC 9114, section 7): a type, a length and a payload. */

import { capsuleHeader } from "../../../lib/masque/index.ts";

/** The types of frames and streams that are used here. */
export const FRAME = { data: 0x00, headers: 0x01, settings: 0x04 } as const;
/** The type of the control stream (RFC 9114, section 6.2.1). */
export const CONTROL_STREAM = 0x00;
/** SETTINGS_H3_DATAGRAM (RFC 9297, section 2.1.1). */
export const SETTING_DATAGRAM = 0x33;

/** Returns a frame. Its header has the form of that of a capsule. */
export function encodeFrame(type: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([capsuleHeader(type, payload.length), payload]);
}
