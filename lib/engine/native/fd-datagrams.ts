/** Sends and receives of Unix datagrams that pass descriptors. */

import {
  FDS_MAX,
  type FdVector,
  NAME_CAPACITY_MAX,
  type Native,
  type SendVector,
} from "../../../ffi/native.ts";
import type { SocketAddress } from "../../address/socket-address.ts";
import { TargetList } from "../../batch/targets.ts";
import type { SocketCounters } from "../../datagram/counters.ts";
import { CmsgWriter, rightsCapacity } from "../../linux/cmsg.ts";
import type { SendSource } from "./send-source.ts";

/** A datagram to send and the descriptors to pass with it. */
export interface FdDatagram {
  readonly payload: Uint8Array;
  /** The destination; absent: the connected peer. */
  readonly address: SocketAddress | undefined;
  /** Open descriptors, 1 to `FDS_MAX`. */
  readonly fds: readonly number[];
}

/** The arguments of an `FdSource`. */
export interface FdSourceInit {
  readonly native: Native;
  readonly fd: number;
  readonly counters: SocketCounters;
  readonly datagram: FdDatagram;
}

/** One for all sockets of a thread: no code of the caller runs while a send uses it. */
let vector: SendVector | undefined;
const control = new CmsgWriter();

/** Sends the datagram. */
export class FdSource implements SendSource {
  length = 1;
  readonly #init: FdSourceInit;

  constructor(init: FdSourceInit) {
    this.#init = init;
  }

  get address(): SocketAddress | undefined {
    return this.#init.datagram.address;
  }

  get bytes(): number {
    return this.#init.datagram.payload.length;
  }

  send(): number {
    const { native, fd, counters, datagram } = this.#init;
    const { payload, address, fds } = datagram;
    vector ??= native.sendVector(NAME_CAPACITY_MAX, rightsCapacity(FDS_MAX));
    vector.reserve(1);
    vector.setView(0, payload);
    vector.setDestination(0, address?._encoded);
    control.begin(vector.words, vector.controlIndex(0));
    control.rights(fds);
    vector.setMessage(0, { slot: 0, slots: 1, datagrams: 1, controlBytes: control.byteLength });
    const result = vector.send(fd, 0, 1);
    vector.release(1);
    counters.sendCalls++;
    if (result < 0) return result;
    counters.messagesSent++;
    counters.datagramsSent++;
    counters.bytesSent += this.bytes;
    this.length = 0;
    return 1;
  }

  drop(): void {
    this.length = 0;
  }
}

/** The target of one call, and the descriptors that it receives. */
export class FdTargets {
  readonly list: TargetList;
  readonly #native: Native;
  readonly #vector: FdVector;

  constructor(native: Native) {
    this.#native = native;
    this.#vector = native.fdVector(NAME_CAPACITY_MAX);
    this.list = new TargetList(this.#vector);
  }

  /** Accepts up to `fdsMax` descriptors, 1 to `FDS_MAX`. The others are closed. */
  begin(fdsMax: number): void {
    this.#vector.fdsMax = fdsMax;
  }

  /** Returns the received descriptors, which the thread still owns. */
  take(): number[] {
    return this.#vector.takeFds();
  }

  /** Ends the call: closes the descriptors that were not taken, and releases the target. */
  end(): void {
    for (const fd of this.#vector.takeFds()) this.#native.close(fd);
    this.list.releaseAll();
  }
}

/** Those that no call uses: a call may run code that receives from other sockets. */
const idle: FdTargets[] = [];

/** Returns the result of `receive`, which gets targets for up to `fdsMax` descriptors. */
export function withFdTargets<T>(
  native: Native,
  fdsMax: number,
  receive: (targets: FdTargets) => T,
): T {
  const targets = idle.pop() ?? new FdTargets(native);
  targets.begin(fdsMax);
  try {
    return receive(targets);
  } finally {
    targets.end();
    idle.push(targets);
  }
}
