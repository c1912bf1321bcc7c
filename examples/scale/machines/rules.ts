/**
 * The configuration of a load balancer that keeps no state, as nftables rules (nft(8)). The rules set
 * the mark of each packet to the number of a host, and policy routing forwards it to that host
 * (ip-rule(8)). The packet itself is not modified, so that the host replies to the client directly.
 */

import { rendezvousTable } from "../hashing.ts";

/** The ports of a service. */
export interface Ports {
  /** QUIC, with connection IDs as in QUIC-LB. */
  readonly quic: number;
  /** The tunnel of the flow proxy, with flow IDs that contain server IDs. */
  readonly tunnel: number;
}

/** The configuration of a load balancer. */
export interface BalancerConfig {
  /** The addresses of the service, which all hosts have. */
  readonly address4: string;
  readonly address6: string;
  readonly ports: Ports;
  /** The first octet of the connection IDs. */
  readonly firstOctet: number;
  /** The length of the connection IDs in bytes. Server IDs have 2 bytes. */
  readonly idBytes: number;
  /** The server IDs of all hosts, 1 to 65535. They are also the marks of their packets. */
  readonly servers: readonly number[];
  /** The hosts that get new connections: not those that are drained. */
  readonly serversForNew: readonly number[];
}

/** The first byte of the flow IDs, see examples/flow-proxy/server-ids.ts. */
const FLOW_FIRST_BYTE = 0xc7;
/** The UDP header, after which the payload starts. */
const UDP_HEADER_BYTES = 8;
/** In a packet with a short header, one byte precedes the connection ID (RFC 8999, section 5.2). */
const SHORT_ID_OFFSET = 1;
/** In one with a long header: the flags, the version, and the length of the ID (section 5.1). */
const LONG_LENGTH_OFFSET = 5;
const LONG_ID_OFFSET = 6;
/** The slots of the table for packets without a server ID. */
const SLOTS = 256;
/** The same on all load balancers, so that they make the same decisions. */
const SEED = "0x6c625f31";

/** Returns an expression for `bits` bits of the UDP payload at `offset` bytes. */
function payload(offset: number, bits: number): string {
  return `@th,${(UDP_HEADER_BYTES + offset) * 8},${bits}`;
}

const hex = (value: number) => `0x${value.toString(16)}`;

/** Returns a statement that assigns a packet without a server ID by a hash of some fields. */
function assignByHash(fields: readonly string[], servers: readonly number[]): string {
  const slots = [...rendezvousTable(servers, SLOTS)].map((server, slot) => `${slot} : ${server}`);
  const hash = `jhash ${fields.join(" . ")} mod ${SLOTS} seed ${SEED}`;
  return `meta mark set ${hash} map { ${slots.join(", ")} } counter accept`;
}

/** Returns the addresses and ports of a packet. */
const portsAndAddresses = (family: "ip" | "ip6") => [
  `${family} saddr`,
  `${family} daddr`,
  "udp sport",
  "udp dport",
];

/** Returns the rules of a load balancer, which replace the current ones in one transaction. */
export function balancerRules(config: BalancerConfig): string {
  const { address4, address6, ports, firstOctet, idBytes, servers, serversForNew } = config;
  const elements = servers.map((server) => `${hex(server)} : ${server}`).join(", ");
  const isShort = `${payload(0, 1)} 0`;
  const isLong = `${payload(0, 1)} 1`;
  const isLongOwn = `${isLong} ${payload(LONG_LENGTH_OFFSET, 8)} ${idBytes}`;
  const first = hex(firstOctet);
  const assign = (offset: number) =>
    `meta mark set ${payload(offset, 16)} map { ${elements} } counter accept`;
  const byPorts = (family: "ip" | "ip6") => assignByHash(portsAndAddresses(family), serversForNew);
  const addresses = [
    ["ip", address4],
    ["ip6", address6],
  ] as const;
  const jumps = addresses.flatMap(([family, address]) => [
    `${family} daddr ${address} udp dport ${ports.quic} jump quic`,
    `${family} daddr ${address} udp dport ${ports.tunnel} jump tunnel`,
    // Neither has assigned the packet: it belongs to no known server.
    `${family} daddr ${address} meta l4proto udp ${byPorts(family)}`,
    // Such as ICMP. Without a mark, it would return to the router.
    `${family} daddr ${address} ${assignByHash([`${family} saddr`], serversForNew)}`,
  ]);
  return [
    // Declared first, so that it exists and can be deleted.
    "table inet balancer",
    "delete table inet balancer",
    "table inet balancer {",
    "  chain quic {",
    `    ${isShort} ${payload(SHORT_ID_OFFSET, 8)} ${first} ${assign(SHORT_ID_OFFSET + 1)}`,
    `    ${isLongOwn} ${payload(LONG_ID_OFFSET, 8)} ${first} ${assign(LONG_ID_OFFSET + 1)}`,
    "  }",
    "  chain tunnel {",
    `    ${payload(0, 8)} ${hex(FLOW_FIRST_BYTE)} ${assign(1)}`,
    "  }",
    "  chain prerouting {",
    "    type filter hook prerouting priority mangle; policy accept;",
    ...jumps.map((jump) => `    ${jump}`),
    "  }",
    "}",
    "",
  ].join("\n");
}

/** Returns rules that assign all packets by their addresses and ports, modulo the hosts. */
export function hashingRules({ address4, address6, servers }: BalancerConfig): string {
  const slots = servers.map((server, slot) => `${slot} : ${server}`).join(", ");
  const rule = (family: "ip" | "ip6", address: string) => {
    const fields = portsAndAddresses(family).join(" . ");
    const hash = `jhash ${fields} mod ${servers.length} seed ${SEED}`;
    return `    ${family} daddr ${address} meta l4proto udp meta mark set ${hash} map { ${slots} }`;
  };
  return [
    "table inet balancer",
    "delete table inet balancer",
    "table inet balancer {",
    "  chain prerouting {",
    "    type filter hook prerouting priority mangle; policy accept;",
    rule("ip", address4),
    rule("ip6", address6),
    "  }",
    "}",
    "",
  ].join("\n");
}
