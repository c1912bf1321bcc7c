/** Reads and sets the options of one descriptor: getsockopt(2), setsockopt(2). */

import type { Native } from "../../ffi/native.ts";
import { checkResult } from "../support/errors.ts";

/** The options of a descriptor. Failures are thrown as `SocketError`. */
export class FdOptions {
  readonly native: Native;
  #fd: number;

  constructor(native: Native, fd: number) {
    this.native = native;
    this.#fd = fd;
  }

  /** Forgets the descriptor, whose number may be reused. Later calls fail with `EBADF`. */
  close(): void {
    this.#fd = -1;
  }

  /** Returns the value of an option that is a C `int`. */
  getInt(level: number, name: number): number {
    const { scratch } = this.native;
    // An option with a shorter value leaves the other bytes as they are.
    scratch[0] = 0;
    checkResult(this.native.getIntOption(this.#fd, level, name), "getsockopt");
    return scratch[0] as number;
  }

  /** Reads an option into `value`, and returns the length of the option's value in bytes. */
  getBytes(level: number, name: number, value: Uint8Array): number {
    return checkResult(this.native.getOption(this.#fd, level, name, value), "getsockopt");
  }

  /** Reads an option as `getBytes` does; returns -errno if that fails. */
  tryGetBytes(level: number, name: number, value: Uint8Array): number {
    return this.native.getOption(this.#fd, level, name, value);
  }

  /** Sets an option whose value is a C `int`. */
  setInt(level: number, name: number, value: number): void {
    checkResult(this.native.setIntOption(this.#fd, level, name, value), "setsockopt");
  }

  /** Sets an option as `setInt` does, and returns whether that worked. */
  trySetInt(level: number, name: number, value: number): boolean {
    return this.native.setIntOption(this.#fd, level, name, value) >= 0;
  }

  /** Sets an option whose value is a struct. `about`: the address that an error names. */
  setBytes(level: number, name: number, value: Uint8Array, about?: string): void {
    checkResult(this.native.setOption(this.#fd, level, name, value), "setsockopt", about);
  }

  /** Sets an option whose value is a classic BPF program: an array of `struct sock_filter`. */
  setFilter(level: number, name: number, program: Uint8Array): void {
    checkResult(this.native.setFilterOption(this.#fd, level, name, program), "setsockopt");
  }
}
