/** Unix datagram sockets: reliable, ordered, and on one machine. */

import type { Native } from "../../ffi/native.ts";
import { AF_UNIX, SocketAddress } from "../address/address.ts";
import type { Payload } from "../datagram/info.ts";
import {
  type BufferSizes,
  checkBufferSizes,
  closeOnThrow,
  openSocket,
  setBufferSizes,
} from "../engine/open.ts";
import { ShimEngine } from "../engine/shim-engine.ts";
import { loadReactor, type ReactorResult } from "../readiness/load.ts";
import { checkInteger, typeError } from "../support/check.ts";
import { checkResult, unsupportedError } from "../support/errors.ts";
import { SOCK_DGRAM } from "../support/linux.ts";
import type { WaitOptions } from "../traits/operations.ts";
import type { Poll, Waker, WouldBlock } from "../traits/poll.ts";
import { checkAdoptable } from "./adopt.ts";
import { EngineSocket } from "./engine-socket.ts";

/** Options of every way to open a `UnixDatagram`. */
export interface UnixOptions extends BufferSizes {
  /** The peer to connect to: a path, or an address. */
  readonly connect?: string | SocketAddress | undefined;
}

/** Paths remembered with their addresses. */
const PATHS_MAX = 256;
const paths = new Map<string, SocketAddress>();

/**
 * A Unix datagram socket. Needs the shim, as Bun has none.
 *
 * @example
 * ```ts
 * const [a, b] = await UnixDatagram.pair();
 * await a.send(new TextEncoder().encode("hello"));
 * await b.recv(new Uint8Array(100)); // 5
 * ```
 */
export class UnixDatagram extends EngineSocket {
  /** The file that `bind` made and `close` removes. */
  #file: BoundFile | undefined;

  /**
   * Opens a socket at `path` (a file, which `close` removes again), or at an abstract address.
   *
   * @throws SocketError when the system refuses (`EADDRINUSE` when the file is there already),
   * or with code `ERR_NOT_SUPPORTED` where the shim does not work.
   */
  static override async bind(
    path: string | SocketAddress,
    options: UnixOptions = {},
  ): Promise<UnixDatagram> {
    const address = unixAddress("path", path);
    const isFile = !address.address.startsWith("\0");
    const socket = await UnixDatagram.#open(options, (native, fd) => {
      checkResult(native.bind(fd, address._encoded), "bind", address.toString());
    });
    if (isFile) socket.#file = boundFile(address.address);
    return socket;
  }

  /** Opens a socket without an address: it sends, and nobody can answer it. */
  static unbound(options: UnixOptions = {}): Promise<UnixDatagram> {
    return UnixDatagram.#open(options, () => {});
  }

  /** Opens two sockets that are connected to each other, and have no address. */
  static async pair(options: BufferSizes = {}): Promise<[UnixDatagram, UnixDatagram]> {
    checkBufferSizes(options);
    const loaded = await shimFor("UnixDatagram.pair");
    const { native } = loaded;
    checkResult(native.pair(AF_UNIX, SOCK_DGRAM), "socketpair");
    const [left, right] = [native.scratch[0] as number, native.scratch[1] as number];
    closeOnThrow(native, right, () => {
      closeOnThrow(native, left, () => {
        setBufferSizes(native, left, options);
        setBufferSizes(native, right, options);
      });
    });
    const wrap = (fd: number) => new UnixDatagram(new ShimEngine({ ...loaded, fd }));
    return [wrap(left), wrap(right)];
  }

  /**
   * Takes over an open Unix datagram descriptor, which is the socket's from then on and is made
   * non-blocking. A file it is bound to stays when it is closed.
   *
   * @throws SocketError when it is no such descriptor (`EINVAL`, `ENOTSOCK`, `EBADF`) or is a
   * socket's of this thread already (`EEXIST`), and stays whose it was; `ERR_NOT_SUPPORTED`
   * without the shim.
   */
  static async fromFd(fd: number): Promise<UnixDatagram> {
    checkInteger("fd", fd, 0, 2 ** 31 - 1);
    const loaded = await shimFor("UnixDatagram.fromFd");
    checkAdoptable(loaded, fd, [AF_UNIX]);
    return new UnixDatagram(new ShimEngine({ ...loaded, fd }));
  }

  static async #open(
    options: UnixOptions,
    bind: (native: Native, fd: number) => void,
  ): Promise<UnixDatagram> {
    checkBufferSizes(options);
    const peer =
      options.connect === undefined ? undefined : unixAddress("connect", options.connect);
    const loaded = await shimFor("UnixDatagram");
    const { native } = loaded;
    const fd = openSocket(native, AF_UNIX, (fd) => {
      setBufferSizes(native, fd, options);
      // Connecting first: when that fails, no file was made.
      if (peer) checkResult(native.connect(fd, peer._encoded), "connect", peer.toString());
      bind(native, fd);
    });
    return new UnixDatagram(new ShimEngine({ ...loaded, fd }));
  }

  /** As `DatagramSocketSend.pollSendTo`; a string is a path. */
  override pollSendTo(
    waker: Waker | null,
    buf: Payload,
    address: SocketAddress | string,
  ): Poll<number> {
    return super.pollSendTo(waker, buf, unixAddress("address", address));
  }

  /** As `DatagramSocketSend.sendTo`; a string is a path. */
  override sendTo(
    buf: Payload,
    address: SocketAddress | string,
    options?: WaitOptions,
  ): Promise<number> {
    return super.sendTo(buf, unixAddress("address", address), options);
  }

  /** As `DatagramSocketSend.trySendTo`; a string is a path. */
  override trySendTo(buf: Payload, address: SocketAddress | string): number | WouldBlock {
    return super.trySendTo(buf, unixAddress("address", address));
  }

  /** As `DatagramSocket.intoFd`; the file that `bind` made is the caller's too from then on. */
  override intoFd(): number | undefined {
    const fd = super.intoFd();
    if (fd !== undefined) this.#file = undefined;
    return fd;
  }

  /** Closes it and removes the file that `bind` made. Idempotent. */
  override close(): void {
    super.close();
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) removeFile(file);
  }
}

/** A file that a socket made, by what tells it from another that took its place. */
interface BoundFile {
  /** Absolute: the working directory may change. */
  readonly path: string;
  readonly device: number;
  readonly inode: number;
}

function boundFile(path: string): BoundFile | undefined {
  const { lstatSync } = process.getBuiltinModule("node:fs");
  const { resolve } = process.getBuiltinModule("node:path");
  const absolute = resolve(path);
  const stats = lstatSync(absolute, { throwIfNoEntry: false });
  return stats && { path: absolute, device: stats.dev, inode: stats.ino };
}

/** Removes the file, unless it is gone or another is in its place. */
function removeFile({ path, device, inode }: BoundFile): void {
  const { lstatSync, rmSync } = process.getBuiltinModule("node:fs");
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.dev === device && stats.ino === inode) rmSync(path, { force: true });
}

async function shimFor(what: string): Promise<Exclude<ReactorResult, { reason: string }>> {
  const loaded = await loadReactor();
  if ("reason" in loaded) {
    throw unsupportedError(what, `Unix datagrams need the shim, and ${loaded.reason}`);
  }
  return loaded;
}

/** The address of a path; the same path is the same object for a while. */
function unixAddress(name: string, path: string | SocketAddress): SocketAddress {
  if (path instanceof SocketAddress) {
    if (path.family !== "unix" || path.isUnnamed) throw typeError(name, "Unix address", `${path}`);
    return path;
  }
  let address = paths.get(path);
  if (address === undefined) {
    address = SocketAddress.unix(path);
    if (paths.size >= PATHS_MAX) paths.clear();
    paths.set(path, address);
  }
  return address;
}
