/**
 * A Worker that opens and closes files and sockets all the time. It counts the descriptors that
 * were closed, or that referred to another file, before it closed them itself.
 */

import { closeSync, fstatSync, openSync } from "node:fs";
import { loadNative } from "../../ffi/native.ts";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { SOCK_DGRAM } from "../../lib/linux/constants.ts";

declare const self: Worker;

/** The descriptors that are open at a time, and how often each is checked. */
const DESCRIPTORS = 4;
const CHECKS = 8;

const loaded = loadNative();
if ("reason" in loaded) throw new Error(loaded.reason);
const { native } = loaded;

const open = {
  file: () => openSync(import.meta.path, "r"),
  socket: () => native.open(AF_INET, SOCK_DGRAM, 0),
};
const close = {
  file: (fd: number) => closeSync(fd),
  socket: (fd: number) => native.close(fd),
};

let opened = 0;
let lost = 0;
let isOver = false;

/** Returns the inode of a descriptor; -1 if it is closed. */
function inodeOf(fd: number): number {
  try {
    return fstatSync(fd).ino;
  } catch {
    return -1;
  }
}

function openCheckAndClose(kind: "file" | "socket"): void {
  const fds = Array.from({ length: DESCRIPTORS }, open[kind]);
  const inodes = fds.map(inodeOf);
  for (let check = 0; check < CHECKS; check++) {
    for (const [i, fd] of fds.entries()) {
      if (fd === -1 || inodeOf(fd) === inodes[i]) continue;
      lost++;
      fds[i] = -1;
    }
  }
  opened += DESCRIPTORS;
  for (const fd of fds) if (fd !== -1) close[kind](fd);
}

function run(): void {
  openCheckAndClose("file");
  openCheckAndClose("socket");
  if (isOver) self.postMessage({ opened, lost });
  else setImmediate(run);
}

self.onmessage = () => {
  isOver = true;
};
self.postMessage("ready");
run();
