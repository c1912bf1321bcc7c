/** Descriptors that Unix datagrams pass: the checks of the arguments, and the result of a receive. */

import { FDS_MAX, type Native } from "../../ffi/native.ts";
import type { SocketAddress } from "../address/socket-address.ts";
import type { RecvMeta } from "../datagram/recv-meta.ts";
import { EBADF } from "../linux/constants.ts";
import type { WaitOptions } from "../poll/operation-queue.ts";
import {
  checkInteger,
  constructorError,
  inspectAs,
  rangeError,
  showState,
  typeError,
} from "../support/check.ts";
import { SocketError } from "../support/errors.ts";
import { checkOptions, optionKinds } from "../support/options.ts";
import { isShared, sharedClass } from "../support/thread-state.ts";

/** Options of `UnixDatagram.sendFds`. */
export interface SendFdsOptions extends WaitOptions {
  /** The destination, as a path or an address. Default: the connected peer. */
  readonly to?: string | SocketAddress | undefined;
}

/** Options of `UnixDatagram.recvFds`. */
export interface RecvFdsOptions extends WaitOptions {
  /** The maximum number of descriptors to accept, 1..253. Default 253. */
  readonly fdsMax?: number | undefined;
}

const SEND_FDS_OPTIONS = optionKinds<SendFdsOptions>({ to: "any", signal: "any" });
const RECV_FDS_OPTIONS = optionKinds<RecvFdsOptions>({ fdsMax: "any", signal: "any" });

/** @throws TypeError for an unknown option. */
export function checkSendFdsOptions(options: SendFdsOptions): void {
  checkOptions("options", options, SEND_FDS_OPTIONS);
}

/** @throws TypeError for an unknown option. */
export function checkRecvFdsOptions(options: RecvFdsOptions): void {
  checkOptions("options", options, RECV_FDS_OPTIONS);
}

/** Returns `fdsMax`, or its default. @throws RangeError if it is not an integer 1..253. */
export function checkFdsMax(fdsMax: number | undefined): number {
  if (fdsMax === undefined) return FDS_MAX;
  checkInteger("fdsMax", fdsMax, 1, FDS_MAX);
  return fdsMax;
}

/**
 * Returns a copy of descriptors to pass.
 *
 * @throws TypeError or RangeError for other values; SocketError with code `EBADF` for a descriptor
 * that is not open: the kernel would not report which one it is.
 */
export function checkFds(native: Native, fds: readonly number[]): number[] {
  if (!Array.isArray(fds)) throw typeError("fds", "array of descriptors", fds);
  const { length } = fds;
  if (length === 0) throw rangeError("fds", `1 to ${FDS_MAX} descriptors (or use send)`, length);
  if (length > FDS_MAX) {
    throw rangeError("fds", `1 to ${FDS_MAX} descriptors (send several datagrams)`, length);
  }
  const copy: number[] = [];
  for (let i = 0; i < length; i++) {
    const fd = fds[i] as number;
    checkInteger(`fds[${i}]`, fd, 0, 2 ** 31 - 1);
    copy.push(fd);
  }
  for (const fd of copy) {
    if (native.flags(fd) >= 0) continue;
    const detail = "an open descriptor expected, which stays open until the datagram was sent";
    throw new SocketError({ errno: EBADF, syscall: "sendmmsg", address: `fd ${fd}`, detail });
  }
  return copy;
}

/**
 * A datagram that `recvFds` has received, and the descriptors that its sender passed.
 *
 * The library owns the descriptors until `intoFds` is called. `using` closes them at the end of the
 * scope, unless they were taken; the end of the thread closes them as well.
 */
export class ReceivedFds implements Disposable {
  static {
    inspectAs(ReceivedFds.prototype, ({ length, fds, fdsTruncated }) =>
      showState("ReceivedFds", { length, fds: `[${fds.join(", ")}]`, fdsTruncated }),
    );
  }

  /** The metadata of the datagram: its sender, and whether it was truncated. */
  readonly meta: RecvMeta;
  readonly #native: Native;
  #fds: readonly number[];

  /** @internal */
  constructor(native: Native, meta: RecvMeta, fds: readonly number[]) {
    if (typeof native?.close !== "function" || !Array.isArray(fds)) {
      throw constructorError("ReceivedFds", "UnixDatagram.recvFds returns them");
    }
    this.#native = native;
    this.meta = meta;
    this.#fds = fds;
  }

  /** The number of bytes stored in the buffer. */
  get length(): number {
    return this.meta.length;
  }

  /** The descriptors that the library owns, in the order of the sender. They are closed on exec. */
  get fds(): readonly number[] {
    return this.#fds;
  }

  /**
   * Whether the sender passed more descriptors than were accepted or than the process may open
   * (`RLIMIT_NOFILE`). The others are closed.
   */
  get fdsTruncated(): boolean {
    return this.meta.controlTruncated;
  }

  /** Transfers the ownership of the descriptors to the caller. `fds` is empty afterwards. */
  intoFds(): number[] {
    const fds = [...this.#fds];
    for (const fd of fds) this.#native.disown(fd);
    this.#fds = [];
    return fds;
  }

  /** Closes the descriptors that the library still owns. Idempotent. */
  close(): void {
    const fds = this.#fds;
    this.#fds = [];
    for (const fd of fds) this.#native.close(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

if (isShared("ReceivedFds", ReceivedFds)) {
  // @ts-expect-error See `isShared`.
  ReceivedFds = sharedClass("ReceivedFds");
}
