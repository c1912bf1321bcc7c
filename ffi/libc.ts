/**
 * The functions of libc that `load.ts` needs before it has the shim: `dlopen` binds them without a
 * compiler.
 */

import { CString, dlopen, type Pointer, ptr, read } from "bun:ffi";

/**
 * The name of libc. It is loaded already, so that `dlopen` opens no file. The loader of musl takes
 * the name for its own.
 */
const LIBC = "libc.so.6";

/** The libraries that may have `dladdr`: glibc has moved it to libc in version 2.34. */
const DLADDR_LIBRARIES = [LIBC, "libdl.so.2"] as const;

const SYMBOLS = {
  bindtextdomain: { args: ["ptr", "ptr"], returns: "ptr" },
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  write: { args: ["i32", "ptr", "u64"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

const bind = () => dlopen(LIBC, SYMBOLS);

/** <sys/mman.h>. */
const MFD_CLOEXEC = 1;

/** The errors of a process, or a system, that is out of descriptors or memory: errno(3). */
const ENOMEM = 12;
const ENFILE = 23;
const EMFILE = 24;

/** The number of descriptors that `cc` may need at a time. It needs 4 in Bun 1.4.5. */
const CC_DESCRIPTORS = 8;

/** What `shim_publish` of c/shim.c stores. */
const PUBLISHED = /^datagram-socket:([0-9a-f]{16})$/;

/** A file in memory. */
export interface MemoryFile {
  /** A path that only this process can open. */
  readonly path: string;
  close(): void;
}

/**
 * Some functions of libc. They do not block. Closed after use: `dlopen` leaks 200 bytes per
 * function otherwise. SAFETY: arguments are held during each call.
 */
export class Libc {
  readonly #library: ReturnType<typeof bind> = bind();

  /** Returns the functions; absent where libc lacks one or has another name. */
  static open(): Libc | undefined {
    try {
      return new Libc();
    } catch {
      return undefined;
    }
  }

  close(): void {
    this.#library.close();
  }

  /** Returns the address that a thread of this process has published under a name, if any. */
  findPublished(name: string): Pointer | undefined {
    const value = this.#library.symbols.bindtextdomain(ptr(cString(name)), null);
    if (value === null) return undefined;
    // SAFETY: libc keeps the string, unless two threads publish one at the same instant. Then it may
    // free the first, which overwrites the start that is matched here.
    const digits = PUBLISHED.exec(new CString(value).toString())?.[1];
    return digits === undefined ? undefined : (Number.parseInt(digits, 16) as Pointer);
  }

  /** Creates a file with `text`. @throws Error if the system refuses. */
  createMemoryFile(text: string): MemoryFile {
    const { write, close } = this.#library.symbols;
    const fd = this.#createMemoryFile();
    const bytes = Buffer.from(text);
    if (write(fd, ptr(bytes), bytes.length) !== bytes.length) {
      close(fd);
      throw new Error("memfd_create expected a file in memory, got none");
    }
    return { path: `/proc/self/fd/${fd}`, close: () => void close(fd) };
  }

  /** The absolute path of libc. @throws Error if it is unknown. */
  get path(): string {
    // The fields of Dl_info are pointers, the first to the path: dladdr(3).
    const info = new BigUint64Array(new ArrayBuffer(32));
    // Functions of `dlopen` have `ptr`, which is missing from bun-types.
    const { ptr: address } = this.#library.symbols.close as { ptr?: Pointer };
    for (const name of DLADDR_LIBRARIES) {
      try {
        const library = dlopen(name, { dladdr: { args: ["ptr", "ptr"], returns: "i32" } });
        const isFound = address !== undefined && library.symbols.dladdr(address, ptr(info)) !== 0;
        library.close();
        if (isFound) return new CString(Number(info[0]) as Pointer).toString();
      } catch {
        // The next one may have it.
      }
    }
    throw new Error("dladdr expected the path of libc, got none");
  }

  /** Returns EMFILE, ENFILE or ENOMEM if the process lacks descriptors for `cc`, and 0 otherwise. */
  findLack(): number {
    const opened: number[] = [];
    let errno = 0;
    while (opened.length < CC_DESCRIPTORS && errno === 0) {
      const fd = this.#createMemoryFile();
      if (fd >= 0) opened.push(fd);
      else errno = this.#errno();
    }
    for (const fd of opened) this.#library.symbols.close(fd);
    return errno === EMFILE || errno === ENFILE || errno === ENOMEM ? errno : 0;
  }

  #createMemoryFile(): number {
    return this.#library.symbols.memfd_create(ptr(cString("datagram-socket")), MFD_CLOEXEC);
  }

  /** Returns the errno of the previous call, unless the engine has made a system call since. */
  #errno(): number {
    const address = this.#library.symbols.__errno_location();
    return address === null ? 0 : read.i32(address, 0);
  }
}

function cString(text: string): Uint8Array {
  return Buffer.from(`${text}\0`);
}
