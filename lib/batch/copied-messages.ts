/** The messages of a `RecvBatch` that were filled by copying: each is one datagram. */

import type { SocketAddress } from "../address/socket-address.ts";
import { RecvMeta } from "../datagram/recv-meta.ts";
import { MAX_BUF_SIZE } from "../support/limits.ts";

/** Views of a batch's memory, and a metadata object for each. Both are created on first use. */
export class CopiedMessages {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #views: Uint8Array[] = [];
  readonly #metas: RecvMeta[] = [];

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  /** Returns the memory of message `m`, to be filled by the caller. */
  viewAt(m: number): Uint8Array {
    this.#views[m] ??= this.#bytes.subarray(m * MAX_BUF_SIZE, (m + 1) * MAX_BUF_SIZE);
    return this.#views[m];
  }

  /** Returns the metadata object of message `m` after a reset, to be filled by the caller. */
  resetMetaAt(m: number): RecvMeta {
    this.#metas[m] ??= new RecvMeta();
    this.#metas[m]._set(0, 0, undefined);
    return this.#metas[m];
  }

  /** Returns the source address of message `m`. */
  peerAt(m: number): SocketAddress | undefined {
    return this.#metas[m]?.peer;
  }

  /** Copies the metadata of message `m` into `meta`. */
  readMeta(m: number, _length: number, meta: RecvMeta): void {
    Object.assign(meta, this.#metas[m]);
  }
}
