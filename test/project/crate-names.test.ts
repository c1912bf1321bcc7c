/** The table of Rust names in the guide is complete, and its TypeScript names exist. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as library from "../../lib/index.ts";

const guide = readFileSync(join(import.meta.dir, "../../docs/from-the-rust-crate.md"), "utf8");
const index = readFileSync(join(import.meta.dir, "../../lib/index.ts"), "utf8");

/** The public names of version 0.8 of the crate. */
const CRATE_NAMES = [
  "DgramBuffer from_slice with_capacity with_capacity_and_headroom from_vec_with_headroom",
  "truncate advance try_add_prefix splice_headroom clear len is_empty spare_capacity",
  "as_slice as_mut_slice into_parts MAX_DATAGRAM_SIZE MAX_MMSG",
  "DatagramSocketSend DatagramSocketSendExt poll_send poll_send_to poll_send_many",
  "as_udp_socket peer_addr send send_to send_many try_send try_send_many",
  "DatagramSocketRecv DatagramSocketRecvExt poll_recv poll_recv_from poll_recv_many",
  "recv recv_from recv_many DatagramSocket as_raw_io into_fd as_buf_io",
  "DatagramSocketWithStats AsSocketStats RawPoolBufDatagramIo",
  "poll_send_datagrams poll_recv_dgram poll_recv_datagrams",
  "AsDatagramSocketSend AsDatagramSocketRecv as_datagram_socket_send as_datagram_socket_recv",
  "as_shared_datagram_socket_recv MaybeConnectedSocket inner into_inner",
  "recvmmsg sendmmsg poll_recvmmsg! poll_sendmmsg! is_nonblocking",
  "ShutdownConnection ShutdownConnectionExt poll_shutdown shutdown_connection",
  "SocketStats StartupExit StartupExitReason QuicAuditStats StreamClosureKind",
].flatMap((line) => line.split(" "));

const table = guide.slice(guide.indexOf("| Rust | TypeScript |"));
const rows = table
  .slice(0, table.indexOf("\n\n"))
  .split("\n")
  .slice(2)
  .map((row) => row.split("|").map((cell) => cell.trim()));

const quoted = (cell: string | undefined): string[] =>
  [...(cell ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);

/** Returns whether index.ts exports a type of that name, which does not exist at run time. */
const isExportedType = (name: string) => new RegExp(`\\btype ${name}\\b`).test(index);

/** Returns whether `Name`, `Name.staticMember` or `Name#member` exists. */
function exists(name: string): boolean {
  if (name === "new DgramBuffer()") return true;
  const [owner, member] = name.split(/[#.]/, 2) as [string, string?];
  const value = (library as Record<string, unknown>)[owner];
  if (member === undefined) return value !== undefined || isExportedType(owner);
  const holder = name.includes("#")
    ? (value as { prototype: object } | undefined)?.prototype
    : value;
  return holder !== undefined && declares(owner, holder as object, member);
}

/** Returns whether a member exists at run time or, if abstract, in the source of the class. */
function declares(owner: string, holder: object, member: string): boolean {
  return member in holder || abstractMembers(owner).includes(member);
}

function abstractMembers(owner: string): string[] {
  const file = new RegExp(`\\b${owner}\\b[^;]*?from "\\./([^"]+)"`).exec(index)?.[1];
  if (file === undefined) return [];
  const source = readFileSync(join(import.meta.dir, "../../lib", file), "utf8");
  const body = source.slice(source.indexOf(`class ${owner}`));
  return [...body.matchAll(/^ {2}abstract (\w+)\(/gm)].map((match) => match[1] as string);
}

describe("the table of Rust names", () => {
  test("has more than 20 rows", () => expect(rows.length).toBeGreaterThan(20));

  test("contains every public name of the crate", () => {
    const named = rows.flatMap((row) => quoted(row[1])).map((name) => name.replace(/^.*::/, ""));
    expect(CRATE_NAMES.filter((name) => !named.includes(name))).toEqual([]);
  });

  test("contains only TypeScript names that are exported", () => {
    const names = rows.flatMap((row) => quoted(row[2]));
    expect(names.length).toBeGreaterThan(60);
    expect(names.filter((name) => !exists(name))).toEqual([]);
  });
});
