/**
 * The entries of `c/shim.c`: their TypeScript signatures, and their C types for the linker.
 *
 * Every entry returns >= 0 or -errno, and is documented in the C file. SAFETY: a pointer is a
 * number, an address taken by `ffi/memory.ts` of memory whose owner is alive during the call; or a
 * genuine typed array, of which the engine passes the current address.
 */

import type { FFIFunction } from "bun:ffi";

type Address = number;

/** The shim's entries as functions. */
export interface Shim {
  shim_abi(): number;
  batch_receive(
    fd: number,
    messages: Address,
    count: number,
    nameCapacity: number,
    controlCapacity: number,
    flags: number,
  ): number;
  batch_send(fd: number, messages: Address, count: number): number;
  datagram_send(
    fd: number,
    bytes: Uint8Array,
    start: number,
    length: number,
    name: Int32Array,
    nameLength: number,
  ): number;
  batch_scatter(
    bytes: Address,
    length: number,
    stride: number,
    targets: Address,
    count: number,
  ): number;
  fds_receive(
    descriptors: Address,
    fd: number,
    message: Address,
    nameCapacity: number,
    controlCapacity: number,
    fds: Address,
    fdsMax: number,
  ): number;
  memory_map(length: number): Address | null;
  memory_unmap(memory: Address, length: Address): void;
  descriptor_own(descriptors: Address, fd: number): void;
  descriptor_disown(descriptors: Address, fd: number): void;
  descriptors_create(): Address | null;
  descriptors_destroy(descriptors: Address, context: Address): void;
  socket_open(descriptors: Address, domain: number, type: number, protocol: number): number;
  socket_pair(descriptors: Address, domain: number, type: number, fds: Address): number;
  socket_bind(fd: number, address: Address, length: number): number;
  socket_connect(fd: number, address: Address, length: number): number;
  socket_name(fd: number, address: Address, capacity: number): number;
  socket_peer_name(fd: number, address: Address, capacity: number): number;
  option_set(fd: number, level: number, name: number, value: Address, length: number): number;
  option_get(fd: number, level: number, name: number, value: Address, capacity: number): number;
  descriptor_flags(fd: number): number;
  descriptor_set_nonblocking(fd: number): number;
  descriptor_duplicate(descriptors: Address, fd: number): number;
  descriptor_close(descriptors: Address, fd: number): number;
  clock_read(clock: number, time: Address): number;
  offload_probe(): number;
  poller_create(): Address | null;
  poller_bytes(): number;
  poller_destroy(poller: Address, context: Address): void;
  registration_find(fd: number, data: Address): number;
  poller_open_in_loop(poller: Address, loop: number, fd: number, data: bigint): number;
  poller_open_with_thread(poller: Address, descriptors: Address, fd: number): number;
  poller_arm(poller: Address, fd: number, events: number, isOnce: number, token: number): number;
  poller_remove(poller: Address, fd: number): number;
  poller_set_timer(poller: Address, delayUs: number): number;
  poller_wait(poller: Address, out: Address, capacity: number): number;
  monotonic_ms(): number;
  shim_publish(name: Address): number;
  interface_index(name: Address): number;
  interface_of_address(family: number, bytes: Address, offset: number, length: number): number;
}

/** The C types of the entries, in the order of the table at the end of `c/shim.c`. */
export const SYMBOLS: { readonly [Name in keyof Shim]: FFIFunction } = {
  shim_abi: { args: [], returns: "i32" },
  batch_receive: { args: ["i32", "ptr", "u32", "u32", "u32", "i32"], returns: "i32" },
  batch_send: { args: ["i32", "ptr", "u32"], returns: "i32" },
  datagram_send: { args: ["i32", "ptr", "u32", "u32", "ptr", "u32"], returns: "i32" },
  batch_scatter: { args: ["ptr", "u32", "u32", "ptr", "u32"], returns: "u32" },
  fds_receive: { args: ["ptr", "i32", "ptr", "u32", "u32", "ptr", "u32"], returns: "i32" },
  memory_map: { args: ["u64"], returns: "ptr" },
  memory_unmap: { args: ["ptr", "ptr"], returns: "void" },
  descriptor_own: { args: ["ptr", "i32"], returns: "void" },
  descriptor_disown: { args: ["ptr", "i32"], returns: "void" },
  descriptors_create: { args: [], returns: "ptr" },
  descriptors_destroy: { args: ["ptr", "ptr"], returns: "void" },
  socket_open: { args: ["ptr", "i32", "i32", "i32"], returns: "i32" },
  socket_pair: { args: ["ptr", "i32", "i32", "ptr"], returns: "i32" },
  socket_bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  socket_connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  socket_name: { args: ["i32", "ptr", "u32"], returns: "i32" },
  socket_peer_name: { args: ["i32", "ptr", "u32"], returns: "i32" },
  option_set: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  option_get: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  descriptor_flags: { args: ["i32"], returns: "i32" },
  descriptor_set_nonblocking: { args: ["i32"], returns: "i32" },
  descriptor_duplicate: { args: ["ptr", "i32"], returns: "i32" },
  descriptor_close: { args: ["ptr", "i32"], returns: "i32" },
  clock_read: { args: ["i32", "ptr"], returns: "i32" },
  offload_probe: { args: [], returns: "i32" },
  poller_create: { args: [], returns: "ptr" },
  poller_bytes: { args: [], returns: "u32" },
  poller_destroy: { args: ["ptr", "ptr"], returns: "void" },
  registration_find: { args: ["i32", "ptr"], returns: "i32" },
  poller_open_in_loop: { args: ["ptr", "i32", "i32", "u64"], returns: "i32" },
  poller_open_with_thread: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  poller_arm: { args: ["ptr", "i32", "u32", "i32", "u64"], returns: "i32" },
  poller_remove: { args: ["ptr", "i32"], returns: "i32" },
  poller_set_timer: { args: ["ptr", "u32"], returns: "i32" },
  poller_wait: { args: ["ptr", "ptr", "u32"], returns: "i32" },
  monotonic_ms: { args: [], returns: "f64" },
  shim_publish: { args: ["ptr"], returns: "i32" },
  interface_index: { args: ["ptr"], returns: "i32" },
  interface_of_address: { args: ["i32", "ptr", "u32", "u32"], returns: "i32" },
};
